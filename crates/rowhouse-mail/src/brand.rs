//! In whose name a mail speaks: the tenant's name and colour.

use std::fmt;
use std::str::FromStr;

use rowhouse_types::TenantId;

/// A colour, `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour([u8; 3]);

/// The text is no colour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a colour such as #2563eb")]
pub struct ColourError;

impl Colour {
    /// What the service uses where nobody chose one.
    pub const DEFAULT: Self = Self([0x25, 0x63, 0xeb]);

    /// Black or white, whichever is easier to read on it (WCAG 2.2, relative luminance).
    pub(crate) fn text_on_it(self) -> Self {
        let [red, green, blue] = self.0.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        let luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        // The contrast with black is (l + 0.05) / 0.05, the one with white 1.05 / (l + 0.05).
        if (luminance + 0.05).powi(2) > 1.05 * 0.05 { Self([0; 3]) } else { Self([255; 3]) }
    }
}

impl FromStr for Colour {
    type Err = ColourError;

    fn from_str(text: &str) -> Result<Self, ColourError> {
        let digits =
            text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii()).ok_or(ColourError)?;
        if !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(ColourError);
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| ColourError)?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// The tenant that a mail is about.
#[derive(Debug, Clone)]
pub struct Brand {
    /// Its id: the mail's row belongs to it.
    pub tenant: TenantId,
    /// Its name as people know it.
    pub name: String,
    /// Its colour, if it chose one.
    pub colour: Option<Colour>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_six_digits_and_nothing_else() {
        assert_eq!("#2563EB".parse::<Colour>().unwrap().to_string(), "#2563eb");
        for bad in ["2563eb", "#25e", "red", "#+25630", "#12345g", "#123456;background:url(x)", "#ééé"] {
            assert_eq!(bad.parse::<Colour>(), Err(ColourError), "{bad:?}");
        }
    }

    #[test]
    fn text_can_be_read_on_every_colour() {
        for (colour, text) in
            [("#ffffff", "#000000"), ("#000000", "#ffffff"), ("#ffee00", "#000000"), ("#2563eb", "#ffffff")]
        {
            assert_eq!(colour.parse::<Colour>().unwrap().text_on_it().to_string(), text, "on {colour}");
        }
    }
}
