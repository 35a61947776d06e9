//! Any `Serialize` type as a template value: structs stay structs (order, unknown fields refused), maps become maps.

use super::value::{Element, Field, GO_ZERO_NANOSECONDS, List, Map, Struct, Value};
use jiff::Timestamp;
use serde::ser::{self, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// An instant that JSON shows in RFC 3339 (Go's zero time when there is none) and templates treat as Go's `time.Time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoTime(pub Option<Timestamp>);

impl GoTime {
    /// Parses what the store and our records write; anything else is the zero time.
    pub fn parse(text: &str) -> GoTime {
        GoTime(text.parse().ok())
    }

    fn instant(self) -> Timestamp {
        self.0.unwrap_or_else(|| Timestamp::from_nanosecond(GO_ZERO_NANOSECONDS).unwrap_or(Timestamp::MIN))
    }
}

const GO_TIME: &str = "coracle::GoTime";

impl Serialize for GoTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(GO_TIME, &super::rfc3339(&self.instant()))
    }
}

const NIL_SLICE: &str = "coracle::NilSlice";
const NIL_MAP: &str = "coracle::NilMap";

/// A slice that may be Go's nil, for `serialize_with`: `null` in JSON, `[]` in templates.
pub fn slice<T: Serialize, S: serde::Serializer>(
    value: &Option<Vec<T>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(list) => list.serialize(serializer),
        None => serializer.serialize_newtype_struct(NIL_SLICE, &()),
    }
}

/// A map that may be Go's nil: `null` in JSON, `map[]` in templates.
pub fn map<T: Serialize, S: serde::Serializer>(
    value: &Option<BTreeMap<String, T>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(map) => map.serialize(serializer),
        None => serializer.serialize_newtype_struct(NIL_MAP, &()),
    }
}

/// Turns `data` into a template value.
pub fn to_value<T: Serialize + ?Sized>(data: &T) -> Value {
    data.serialize(Builder).unwrap_or(Value::Missing)
}

/// Never happens for our types: serde wants an error type.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl ser::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Failure(message.to_string())
    }
}

struct Builder;

struct Sequence(Vec<Value>);

struct Entries {
    entries: Vec<(Rc<str>, Value)>,
    key: Rc<str>,
}

struct Record {
    name: &'static str,
    fields: Vec<Field>,
}

type Built = Result<Value, Failure>;

impl ser::Serializer for Builder {
    type Ok = Value;
    type Error = Failure;
    type SerializeSeq = Sequence;
    type SerializeTuple = Sequence;
    type SerializeTupleStruct = Sequence;
    type SerializeTupleVariant = Sequence;
    type SerializeMap = Entries;
    type SerializeStruct = Record;
    type SerializeStructVariant = Record;

    fn serialize_bool(self, v: bool) -> Built {
        Ok(Value::Bool(v))
    }
    fn serialize_i8(self, v: i8) -> Built {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i16(self, v: i16) -> Built {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i32(self, v: i32) -> Built {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i64(self, v: i64) -> Built {
        Ok(Value::Int(v))
    }
    fn serialize_u8(self, v: u8) -> Built {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u16(self, v: u16) -> Built {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u32(self, v: u32) -> Built {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u64(self, v: u64) -> Built {
        Ok(Value::from(v))
    }
    fn serialize_f32(self, v: f32) -> Built {
        Ok(Value::Float(v.into()))
    }
    fn serialize_f64(self, v: f64) -> Built {
        Ok(Value::Float(v))
    }
    fn serialize_char(self, v: char) -> Built {
        Ok(Value::from(v.to_string()))
    }
    fn serialize_str(self, v: &str) -> Built {
        Ok(Value::from(v))
    }
    fn serialize_bytes(self, v: &[u8]) -> Built {
        Ok(Value::from(String::from_utf8_lossy(v).as_ref()))
    }
    fn serialize_none(self) -> Built {
        Ok(Value::NilPointer)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Built {
        value.serialize(self)
    }
    /// Decoded JSON's null.
    fn serialize_unit(self) -> Built {
        Ok(Value::Nil)
    }
    /// Go's `struct{}{}`.
    fn serialize_unit_struct(self, name: &'static str) -> Built {
        Ok(Value::Struct(Rc::new(Struct { name, fields: Vec::new() })))
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Built {
        Ok(Value::from(variant))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Built {
        let value = value.serialize(self)?;
        Ok(match (name, &value) {
            (GO_TIME, Value::Str(text)) => Value::Time(GoTime::parse(text).instant()),
            (NIL_SLICE, _) => Value::List(Rc::new(List { nil: true, ..List::default() })),
            (NIL_MAP, _) => Value::Map(Rc::new(Map { nil: true, ..Map::default() })),
            _ => value,
        })
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Built {
        value.serialize(self)
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Sequence, Failure> {
        Ok(Sequence(Vec::with_capacity(len.unwrap_or(0))))
    }
    fn serialize_tuple(self, len: usize) -> Result<Sequence, Failure> {
        self.serialize_seq(Some(len))
    }
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Sequence, Failure> {
        self.serialize_seq(Some(len))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Sequence, Failure> {
        self.serialize_seq(Some(len))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Entries, Failure> {
        Ok(Entries { entries: Vec::new(), key: Rc::from("") })
    }
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Record, Failure> {
        Ok(Record { name, fields: Vec::with_capacity(len) })
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Record, Failure> {
        self.serialize_struct(name, len)
    }
}

impl Sequence {
    fn finish(self) -> Built {
        let first = self.0.first().map(Value::type_name);
        let any = self.0.iter().any(|v| Some(v.type_name()) != first);
        Ok(Value::List(Rc::new(List { any, items: self.0, nil: false })))
    }
}

impl ser::SerializeSeq for Sequence {
    type Ok = Value;
    type Error = Failure;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.0.push(value.serialize(Builder)?);
        Ok(())
    }
    fn end(self) -> Built {
        self.finish()
    }
}

impl ser::SerializeTuple for Sequence {
    type Ok = Value;
    type Error = Failure;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Built {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Sequence {
    type Ok = Value;
    type Error = Failure;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Built {
        self.finish()
    }
}

impl ser::SerializeTupleVariant for Sequence {
    type Ok = Value;
    type Error = Failure;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Built {
        self.finish()
    }
}

impl ser::SerializeMap for Entries {
    type Ok = Value;
    type Error = Failure;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failure> {
        self.key = match key.serialize(Builder)? {
            Value::Str(key) => key,
            other => Rc::from(super::display(&other)),
        };
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.entries.push((self.key.clone(), value.serialize(Builder)?));
        Ok(())
    }
    fn end(self) -> Built {
        let strings = self.entries.iter().all(|(_, v)| matches!(v, Value::Str(_)));
        let element = if strings { Element::Str } else { Element::Other };
        Ok(Value::Map(Rc::new(Map { element, entries: self.entries.into_iter().collect(), nil: false })))
    }
}

impl ser::SerializeStruct for Record {
    type Ok = Value;
    type Error = Failure;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        self.fields.push(Field { name, value: value.serialize(Builder)?, hidden: false });
        Ok(())
    }
    /// omitempty: JSON leaves it out, a template may ask for it.
    fn skip_field(&mut self, name: &'static str) -> Result<(), Failure> {
        self.fields.push(Field { name, value: Value::NilPointer, hidden: true });
        Ok(())
    }
    fn end(self) -> Built {
        Ok(Value::Struct(Rc::new(Struct { name: self.name, fields: self.fields })))
    }
}

impl ser::SerializeStructVariant for Record {
    type Ok = Value;
    type Error = Failure;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        ser::SerializeStruct::serialize_field(self, name, value)
    }
    fn end(self) -> Built {
        ser::SerializeStruct::end(self)
    }
}
