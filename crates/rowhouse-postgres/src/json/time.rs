//! Dates, times and intervals as ISO 8601, over PostgreSQL's whole ranges.

use std::io::Write as _;

use super::number::{four_digits, two_digits};

fn write_infinite(positive: bool, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(if positive { b"\"infinity\"" } else { b"\"-infinity\"" });
    Some(())
}

/// Days since 2000-01-01.
pub(super) fn write_date(days: i32, out: &mut Vec<u8>) -> Option<()> {
    if days == i32::MAX || days == i32::MIN {
        return write_infinite(days > 0, out);
    }
    out.push(b'"');
    write_calendar(days.into(), out)?;
    out.push(b'"');
    Some(())
}

/// Year, month and day of a count of days since 2000-01-01, over PostgreSQL's whole range: its
/// years go to 5,874,897, twenty times as far as chrono's. The months are counted from March, so
/// that the leap day is a year's last; 146,097 days are 400 years.
fn calendar(days: i64) -> (i64, u32, u32) {
    // From 0000-03-01.
    let days = days + 730_425;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let small = |number: i64| u32::try_from(number).unwrap_or_default();
    (year, small(month), small(day))
}

fn write_calendar(days: i64, out: &mut Vec<u8>) -> Option<()> {
    let (year, month, day) = calendar(days);
    let mut text = *b"0000-00-00";
    text[5..7].copy_from_slice(&two_digits(month));
    text[8..].copy_from_slice(&two_digits(day));
    match i16::try_from(year) {
        Ok(year) if (0..=9999).contains(&year) => {
            text[..4].copy_from_slice(&four_digits(year));
            out.extend_from_slice(&text);
        }
        _ => {
            // ISO 8601 wants a sign on years beyond four digits and before year zero.
            write!(out, "{year:+05}").ok()?;
            out.extend_from_slice(&text[4..]);
        }
    }
    Some(())
}

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Microseconds since midnight; 24:00:00 is allowed.
fn write_clock(micros: i64, out: &mut Vec<u8>) -> Option<()> {
    let seconds = u32::try_from(micros / 1_000_000).ok()?;
    let micros = u32::try_from(micros % 1_000_000).ok()?;
    let mut text = *b"00:00:00.000000";
    let parts = [seconds / 3600, seconds / 60 % 60, seconds % 60, micros / 10_000, micros / 100 % 100, micros % 100];
    for (part, at) in parts.into_iter().zip([0, 3, 6, 9, 11, 13]) {
        text[at..at + 2].copy_from_slice(&two_digits(part));
    }
    let zeros = text.iter().rev().take_while(|byte| **byte == b'0').count();
    out.extend_from_slice(if micros == 0 { &text[..8] } else { &text[..text.len() - zeros] });
    Some(())
}

pub(super) fn write_time(micros: i64, out: &mut Vec<u8>) -> Option<()> {
    out.push(b'"');
    write_clock(micros, out)?;
    out.push(b'"');
    Some(())
}

/// Microseconds since 2000-01-01.
pub(super) fn write_timestamp(micros: i64, zone: &str, out: &mut Vec<u8>) -> Option<()> {
    if micros == i64::MAX || micros == i64::MIN {
        return write_infinite(micros > 0, out);
    }
    out.push(b'"');
    write_calendar(micros.div_euclid(MICROS_PER_DAY), out)?;
    out.push(b'T');
    write_clock(micros.rem_euclid(MICROS_PER_DAY), out)?;
    out.extend_from_slice(zone.as_bytes());
    out.push(b'"');
    Some(())
}

/// ISO 8601 durations: `P1Y2M3DT4H5M6.7S`, each part with a sign of its own.
pub(super) fn write_interval(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let micros = i64::from_be_bytes(raw.get(..8)?.try_into().ok()?);
    let days = i32::from_be_bytes(raw.get(8..12)?.try_into().ok()?);
    let months = i32::from_be_bytes(raw.get(12..16)?.try_into().ok()?);
    match (months, days, micros) {
        (i32::MAX, i32::MAX, i64::MAX) => return write_infinite(true, out),
        (i32::MIN, i32::MIN, i64::MIN) => return write_infinite(false, out),
        _ => out.extend_from_slice(b"\"P"),
    }
    for (value, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if value != 0 {
            write!(out, "{value}{unit}").ok()?;
        }
    }
    let seconds = micros / 1_000_000;
    if micros != 0 || (months == 0 && days == 0) {
        out.push(b'T');
        for (value, unit) in [(seconds / 3600, 'H'), (seconds % 3600 / 60, 'M')] {
            if value != 0 {
                write!(out, "{value}{unit}").ok()?;
            }
        }
        let rest = micros % 60_000_000;
        if rest != 0 || micros == 0 {
            let sign = if rest < 0 { "-" } else { "" };
            let fraction = format!("{:06}", (rest % 1_000_000).abs());
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            write!(out, "{sign}{}{point}{fraction}S", (rest / 1_000_000).abs()).ok()?;
        }
    }
    out.push(b'"');
    Some(())
}
