//! Sizes as people write them.

/// A size in bytes as docker reads it: `64m`, `1.5GiB`, `512`; units are powers of 1024 and not case-sensitive. `None`: it is
/// none, or above 2^63.
pub fn bytes(text: &str) -> Option<u64> {
    in_powers_of(1024, text)
}

/// The same in powers of 1000 (go-units, `FromHumanSize`).
pub fn decimal_bytes(text: &str) -> Option<u64> {
    in_powers_of(1000, text)
}

fn in_powers_of(base: u64, text: &str) -> Option<u64> {
    let split = text.rfind(|c: char| c.is_ascii_digit() || c == '.').map_or(0, |at| at + 1);
    let (number, unit) = (&text[..split], text[split..].trim_start().to_ascii_lowercase());
    let factor = base.pow(match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    });
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    // Whole numbers exactly; fractions as docker, through a float.
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).filter(|n| i64::try_from(*n).is_ok());
    }
    let value: f64 = number.parse().ok()?;
    #[allow(clippy::cast_precision_loss)]
    let bytes = value * factor as f64;
    if !bytes.is_finite() || bytes >= 9.2e18 {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some(bytes as u64)
}
