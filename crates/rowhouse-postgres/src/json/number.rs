//! Numbers, with all their digits.

pub(super) fn write_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(super) fn write_float<F: ryu::Float + Into<f64> + Copy>(value: F, out: &mut Vec<u8>) {
    let wide: f64 = value.into();
    if wide.is_finite() {
        let mut buffer = ryu::Buffer::new();
        let text = buffer.format_finite(value);
        out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
    } else if wide.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if wide > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}

/// `numeric` on the wire: digits to base 10,000, the weight of the first, the sign, and how many
/// decimals are shown (PostgreSQL's numeric_send).
pub(super) fn write_numeric(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let word = |at: usize| Some(i16::from_be_bytes(raw.get(at * 2..at * 2 + 2)?.try_into().ok()?));
    // The longest numbers have more groups than a signed word can count.
    let (count, sign) = (word(0)?.cast_unsigned(), word(2)?.cast_unsigned());
    let (weight, scale) = (word(1)?, word(3)?);
    match sign {
        0x0000 => {}
        0x4000 => out.push(b'-'),
        0xD000 => {
            out.extend_from_slice(b"\"Infinity\"");
            return Some(());
        }
        0xF000 => {
            out.extend_from_slice(b"\"-Infinity\"");
            return Some(());
        }
        _ => {
            out.extend_from_slice(b"\"NaN\"");
            return Some(());
        }
    }
    let group = |place: i16| -> Option<i16> {
        // Wider than the words: the longest numbers have 32,768 groups before the point and 4,096 after.
        let index = i32::from(weight) - i32::from(place);
        if (0..i32::from(count)).contains(&index) { word(4 + usize::try_from(index).ok()?) } else { Some(0) }
    };
    if weight < 0 {
        out.push(b'0');
    }
    for place in (0..=weight).rev() {
        let digits = group(place)?;
        if place == weight { write_integer(digits, out) } else { out.extend_from_slice(&four_digits(digits)) }
    }
    if scale > 0 {
        out.push(b'.');
        let mut left = usize::try_from(scale).ok()?;
        let mut place = -1;
        while left > 0 {
            let some = left.min(4);
            out.extend_from_slice(four_digits(group(place)?).get(..some)?);
            left -= some;
            place -= 1;
        }
    }
    Some(())
}

/// The two digits of a number below 100. `write!` took a quarter of a list's time.
pub(super) fn two_digits(number: u32) -> [u8; 2] {
    [number / 10 % 10, number % 10].map(digit)
}

/// The four digits of a number below 10,000.
pub(super) fn four_digits(number: i16) -> [u8; 4] {
    let number = u32::from(number.unsigned_abs());
    [number / 1000 % 10, number / 100 % 10, number / 10 % 10, number % 10].map(digit)
}

fn digit(number: u32) -> u8 {
    b"0123456789"[number as usize % 10]
}
