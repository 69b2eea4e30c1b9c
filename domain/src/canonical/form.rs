//! The writer of RFC 8785 JSON: `serde_json` goes through the value and escapes its strings, this sets the
//! order of members and the range of numbers, in one pass over one buffer.

use super::{CanonicalError, MAX_INTEGER};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};
use std::cmp::Ordering;
use std::io::{self, Write};

/// Writes `value`; `capacity` is how many bytes it is thought to take.
pub(super) fn write<T: Serialize>(value: &T, capacity: usize) -> Result<Vec<u8>, CanonicalError> {
    let mut form =
        Form { out: Vec::with_capacity(capacity), members: Vec::with_capacity(64), ..Form::default() };
    let written = value.serialize(&mut Serializer::with_formatter(Nowhere, &mut form));
    if form.number_refused {
        return Err(CanonicalError::Number);
    }
    written.map_err(CanonicalError::NotJson)?;
    Ok(form.out)
}

#[derive(Default)]
struct Form {
    out: Vec<u8>,
    /// Members of the objects that are not closed yet, outermost first.
    members: Vec<Member>,
    /// For each of these objects, where its members begin in `members`.
    open: Vec<usize>,
    /// The members that are being sorted, as they came.
    unsorted: Vec<u8>,
    number_refused: bool,
}

/// A member of an object, as places in `out`: its quoted name begins it.
struct Member {
    start: usize,
    name_end: usize,
    end: usize,
    /// The first bytes of a name in ASCII without escapes, which decide nearly every comparison.
    head: Option<u64>,
}

impl Member {
    /// The order of names: by UTF-16 units, which for plain ASCII is that of the bytes.
    fn cmp(&self, other: &Self, out: &[u8]) -> Ordering {
        let name = |member: &Self| out.get(member.start..member.name_end).unwrap_or_default();
        let text = |member| serde_json::from_slice::<String>(name(member)).unwrap_or_default();
        match (self.head, other.head) {
            (Some(head), Some(other_head)) if head != other_head => head.cmp(&other_head),
            _ => text(self).encode_utf16().cmp(text(other).encode_utf16()),
        }
    }
}

/// The first eight bytes of what stands between the quotation marks, zeros where there are fewer: no plain name
/// holds a zero.
fn head(quoted: &[u8]) -> Option<u64> {
    let [b'"', name @ .., b'"'] = quoted else { return None };
    let plain = name.iter().all(|byte| byte.is_ascii() && *byte != b'\\');
    let first = name.iter().copied().chain(std::iter::repeat(0)).take(8);
    plain.then(|| first.fold(0, |head, byte| head << 8 | u64::from(byte)))
}

impl Form {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn integer(&mut self, negative: bool, magnitude: u64) -> io::Result<()> {
        if magnitude > MAX_INTEGER {
            return self.refuse();
        }
        if negative {
            self.out.push(b'-');
        }
        CompactFormatter.write_u64(&mut self.out, magnitude)
    }

    fn refuse(&mut self) -> io::Result<()> {
        self.number_refused = true;
        Err(io::ErrorKind::InvalidData.into())
    }

    /// Puts the members from `first` on, which are the end of `out`, into order.
    fn sort(&mut self, first: usize) {
        let Self { out, members, unsorted, .. } = self;
        let members = members.get_mut(first..).unwrap_or_default();
        let Some(start) = members.first().map(|member| member.start) else { return };
        if members.is_sorted_by(|a, b| a.cmp(b, out).is_lt()) {
            return;
        }
        members.sort_unstable_by(|a, b| a.cmp(b, out));
        unsorted.clear();
        unsorted.extend_from_slice(out.get(start..).unwrap_or_default());
        out.truncate(start);
        for member in members {
            let place = member.start.saturating_sub(start)..member.end.saturating_sub(start);
            out.extend_from_slice(unsorted.get(place).unwrap_or_default());
            out.push(b',');
        }
        out.pop();
    }
}

macro_rules! unsigned {
    ($($method:ident: $int:ty),+) => {$(
        fn $method<W: ?Sized + Write>(&mut self, _: &mut W, value: $int) -> io::Result<()> {
            self.integer(false, value.into())
        }
    )+};
}

macro_rules! signed {
    ($($method:ident: $int:ty),+) => {$(
        fn $method<W: ?Sized + Write>(&mut self, _: &mut W, value: $int) -> io::Result<()> {
            self.integer(value < 0, value.unsigned_abs().into())
        }
    )+};
}

macro_rules! refused {
    ($($method:ident: $number:ty),+) => {$(
        fn $method<W: ?Sized + Write>(&mut self, _: &mut W, _: $number) -> io::Result<()> {
            self.refuse()
        }
    )+};
}

/// What is not overridden here ends in [`Nowhere`], as an error.
impl Formatter for &mut Form {
    unsigned!(write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64);
    signed!(write_i8: i8, write_i16: i16, write_i32: i32, write_i64: i64);
    refused!(write_u128: u128, write_i128: i128, write_f32: f32, write_f64: f64);

    fn write_null<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.put(b"null")
    }

    fn write_bool<W: ?Sized + Write>(&mut self, _: &mut W, value: bool) -> io::Result<()> {
        self.put(if value { b"true" } else { b"false" })
    }

    fn begin_string<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.put(b"\"")
    }

    fn end_string<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.put(b"\"")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, _: &mut W, fragment: &str) -> io::Result<()> {
        self.put(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, _: &mut W, escape: CharEscape) -> io::Result<()> {
        CompactFormatter.write_char_escape(&mut self.out, escape)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.put(b"[")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, _: &mut W, first: bool) -> io::Result<()> {
        self.put(if first { b"" } else { b"," })
    }

    fn end_array<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.put(b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let first = self.members.len();
        self.open.push(first);
        self.put(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, _: &mut W, first: bool) -> io::Result<()> {
        if !first {
            self.out.push(b',');
        }
        let start = self.out.len();
        self.members.push(Member { start, name_end: start, end: start, head: None });
        Ok(())
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        if let Some(member) = self.members.last_mut() {
            member.head = head(self.out.get(member.start..).unwrap_or_default());
            member.name_end = self.out.len();
        }
        self.put(b":")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let end = self.out.len();
        if let Some(member) = self.members.last_mut() {
            member.end = end;
        }
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let first = self.open.pop().unwrap_or_default();
        self.sort(first);
        self.members.truncate(first);
        self.put(b"}")
    }
}

/// Takes no byte: [`Form`] keeps them itself.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
