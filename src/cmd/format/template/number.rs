//! Number and character constants of templates, as Go's strconv reads them.

use super::node::Number;
use super::quote::{quote, unquote};

/// A number as Go's strconv reads it with base prefix and underscores, or a character constant.
pub(super) fn number(text: &str) -> Result<Number, String> {
    let illegal = || format!("illegal number syntax: {}", quote(text));
    if text.starts_with('\'') {
        let inner = unquote(text).ok_or_else(|| format!("malformed character constant: {text}"))?;
        let mut chars = inner.chars();
        return match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(Number::Int(i64::from(c as u32))),
            (None, _) => Err("invalid syntax".to_owned()),
            _ => Err(format!("malformed character constant: {text}")),
        };
    }
    if !underscores_ok(text) {
        return Err(illegal());
    }
    if let Some(imaginary) = text.strip_suffix('i') {
        return match number(imaginary)? {
            Number::Int(i) => Ok(Number::Imaginary(i as f64)),
            Number::Float(f) => Ok(Number::Imaginary(f)),
            _ => Err(illegal()),
        };
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.bytes().all(|b| b.is_ascii_digit()) && lower.starts_with('0') => {
            (8, &lower[1..])
        }
        _ => (10, lower.as_str()),
    };
    if radix == 16 && body.contains(['p', '.']) {
        return hex_float(body).map(|f| Number::Float(if negative { -f } else { f })).ok_or_else(illegal);
    }
    if radix == 10 && lower.contains(['.', 'e']) {
        return plain.parse::<f64>().map(Number::Float).map_err(|_| illegal());
    }
    match u64::from_str_radix(body, radix) {
        Ok(n) if negative => 0i64
            .checked_sub_unsigned(n)
            .map(Number::Int)
            .ok_or_else(|| format!("integer overflow: {}", quote(text))),
        Ok(n) => Ok(i64::try_from(n).map_or(Number::TooBig, Number::Int)),
        // Go tries integers as floating-point numbers, too, and blames their size.
        Err(_) if text.parse::<f64>().is_ok() => Err(format!("integer overflow: {}", quote(text))),
        Err(_) => Err(illegal()),
    }
}

/// Underscores stand between digits, or between a base prefix and a digit, one at a time.
fn underscores_ok(text: &str) -> bool {
    !text.contains("__")
        && !text.ends_with('_')
        && !text.starts_with('_')
        && !text.contains("_.")
        && !text.contains("._")
}

/// `1.8p3` without its prefix.
fn hex_float(body: &str) -> Option<f64> {
    let (mantissa, exponent) = body.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = 0.0;
    for c in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let exponent: i32 = exponent.parse().ok()?;
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    Some(value * 2f64.powi(shift))
}
