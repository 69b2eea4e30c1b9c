//! AIM symbology identifiers (ISO/IEC 15424): `]`, a letter for the symbology, a character for its options.

use serde::{Deserialize, Serialize};

/// The kind of symbol that a scanner read, as far as its AIM identifier tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Symbology {
    /// The scanner sent no AIM identifier.
    Unknown,
    /// GS1-128 (`]C1`).
    #[serde(rename = "gs1_128")]
    Gs1_128,
    /// GS1 DataBar and GS1 Composite (`]e0` to `]e3`).
    Gs1Databar,
    /// GS1 DataMatrix (`]d2`, with ECI `]d5`).
    Gs1Datamatrix,
    /// GS1 QR code (`]Q3`, with ECI `]Q4`).
    Gs1Qr,
    /// GS1 DotCode (`]J1`, with ECI `]J4`).
    Gs1Dotcode,
    /// EAN-13, UPC-A, UPC-E (`]E0`).
    Ean13,
    /// EAN-8 (`]E4`).
    Ean8,
    /// An EAN or UPC add-on, alone or with its main symbol (`]E1`, `]E2`, `]E3`).
    EanAddOn,
    /// ITF-14 and Interleaved 2 of 5 with a check digit that the scanner verified (`]I1`).
    ItfChecked,
    /// Interleaved 2 of 5 (`]I0`, `]I3`).
    Itf,
    /// Code 128 (`]C0`, `]C2`, `]C4`).
    #[serde(rename = "code_128")]
    Code128,
    /// Code 39 (`]A`).
    #[serde(rename = "code_39")]
    Code39,
    /// Code 93 (`]G`).
    #[serde(rename = "code_93")]
    Code93,
    /// Codabar (`]F`).
    Codabar,
    /// Data Matrix without GS1 data (`]d0`, `]d1`, `]d3`, `]d4`, `]d6`).
    Datamatrix,
    /// QR code without GS1 data (`]Q0`, `]Q1`, `]Q2`, `]Q5`, `]Q6`).
    Qr,
    /// DotCode without GS1 data (`]J0`, `]J2`, `]J3`, `]J5`).
    Dotcode,
    /// PDF417 and MicroPDF417 (`]L`).
    #[serde(rename = "pdf_417")]
    Pdf417,
    /// Aztec code (`]z`).
    Aztec,
    /// MaxiCode (`]U`).
    Maxicode,
    /// Any other symbology that AIM knows.
    Other,
}

impl Symbology {
    /// The name in operations and in the output of `lotgate decode`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Gs1_128 => "gs1_128",
            Self::Gs1Databar => "gs1_databar",
            Self::Gs1Datamatrix => "gs1_datamatrix",
            Self::Gs1Qr => "gs1_qr",
            Self::Gs1Dotcode => "gs1_dotcode",
            Self::Ean13 => "ean13",
            Self::Ean8 => "ean8",
            Self::EanAddOn => "ean_add_on",
            Self::ItfChecked => "itf_checked",
            Self::Itf => "itf",
            Self::Code128 => "code_128",
            Self::Code39 => "code_39",
            Self::Code93 => "code_93",
            Self::Codabar => "codabar",
            Self::Datamatrix => "datamatrix",
            Self::Qr => "qr",
            Self::Dotcode => "dotcode",
            Self::Pdf417 => "pdf_417",
            Self::Aztec => "aztec",
            Self::Maxicode => "maxicode",
            Self::Other => "other",
        }
    }

    /// Every symbology, in the order of declaration.
    pub const ALL: [Self; 22] = [
        Self::Unknown,
        Self::Gs1_128,
        Self::Gs1Databar,
        Self::Gs1Datamatrix,
        Self::Gs1Qr,
        Self::Gs1Dotcode,
        Self::Ean13,
        Self::Ean8,
        Self::EanAddOn,
        Self::ItfChecked,
        Self::Itf,
        Self::Code128,
        Self::Code39,
        Self::Code93,
        Self::Codabar,
        Self::Datamatrix,
        Self::Qr,
        Self::Dotcode,
        Self::Pdf417,
        Self::Aztec,
        Self::Maxicode,
        Self::Other,
    ];

    /// Whether the symbol itself says that its data are GS1 element strings.
    #[must_use]
    pub const fn carries_element_strings(self) -> bool {
        matches!(
            self,
            Self::Gs1_128 | Self::Gs1Databar | Self::Gs1Datamatrix | Self::Gs1Qr | Self::Gs1Dotcode
        )
    }

    const fn of(letter: u8, option: u8) -> Self {
        match (letter, option) {
            (b'C', b'1') => Self::Gs1_128,
            (b'C', _) => Self::Code128,
            (b'e', b'0'..=b'3') => Self::Gs1Databar,
            (b'd', b'2' | b'5') => Self::Gs1Datamatrix,
            (b'd', _) => Self::Datamatrix,
            (b'Q', b'3' | b'4') => Self::Gs1Qr,
            (b'Q', _) => Self::Qr,
            (b'J', b'1' | b'4') => Self::Gs1Dotcode,
            (b'J', _) => Self::Dotcode,
            (b'E', b'0') => Self::Ean13,
            (b'E', b'4') => Self::Ean8,
            (b'E', _) => Self::EanAddOn,
            (b'I', b'1') => Self::ItfChecked,
            (b'I', _) => Self::Itf,
            (b'A', _) => Self::Code39,
            (b'G', _) => Self::Code93,
            (b'F', _) => Self::Codabar,
            (b'L', _) => Self::Pdf417,
            (b'z', _) => Self::Aztec,
            (b'U', _) => Self::Maxicode,
            _ => Self::Other,
        }
    }
}

/// Cuts the AIM identifier off a scan: `]`, a letter, a letter or digit. Without one, all of it is data.
#[must_use]
pub fn split(scan: &[u8]) -> (Option<&str>, Symbology, &[u8]) {
    match scan {
        [b']', letter, option, data @ ..]
            if letter.is_ascii_alphabetic() && option.is_ascii_alphanumeric() =>
        {
            let aim = scan.get(..3).and_then(|head| std::str::from_utf8(head).ok());
            (aim, Symbology::of(*letter, *option), data)
        }
        _ => (None, Symbology::Unknown, scan),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_tells_gs1_data_from_plain_data_in_the_same_symbol() {
        for (gs1, plain) in [("]C1", "]C0"), ("]d2", "]d1"), ("]Q3", "]Q1"), ("]J1", "]J0")] {
            assert!(split(gs1.as_bytes()).1.carries_element_strings(), "{gs1}");
            assert!(!split(plain.as_bytes()).1.carries_element_strings(), "{plain}");
        }
    }

    #[test]
    fn what_is_no_identifier_stays_data() {
        for scan in ["", "]", "]C", "]1C", "]C\u{1d}", "C10", "[C1"] {
            assert_eq!(split(scan.as_bytes()), (None, Symbology::Unknown, scan.as_bytes()), "{scan:?}");
        }
    }

    #[test]
    fn the_list_of_symbologies_is_complete_and_in_order() {
        for (at, symbology) in Symbology::ALL.iter().enumerate() {
            assert_eq!(*symbology as usize, at, "{symbology:?}");
        }
        assert_eq!(Symbology::ALL.last(), Some(&Symbology::Other), "the last one declared");
    }
}
