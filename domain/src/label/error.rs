//! Why there is no label.

/// A text of the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// What people call the item.
    Name,
    /// Code of the item.
    Item,
    /// Lot number.
    Lot,
    /// Last day of use.
    Expiry,
    /// Serial of the container.
    Serial,
    /// Name of the station.
    Station,
    /// When it was made.
    Made,
    /// Original or copy.
    Copy,
    /// The training mark.
    Training,
}

/// Why a label cannot be made. Nothing was shortened, and nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A text is empty.
    #[error("{0:?} is empty")]
    Missing(Field),
    /// A text has a control character or one that the printer's font does not have.
    #[error("{0:?} has a character that cannot be printed")]
    Character(Field),
    /// A text does not fit in letters that can be read.
    #[error("{0:?} is too long")]
    TooLong(Field),
    /// The lot number has a character that GS1 does not allow in identifier 10.
    #[error("the lot number has a character that GS1 does not allow")]
    LotNotGs1,
    /// The lot number is longer than the 20 characters of identifier 10.
    #[error("the lot number is longer than 20 characters")]
    LotTooLong,
    /// The serial is not 1 to 20 characters that GS1 allows in identifier 21.
    #[error("the serial is not one of identifier 21")]
    Serial,
    /// The item has no GTIN of 14 digits with a right check digit.
    #[error("the item has no right GTIN")]
    Gtin,
    /// Two digits do not say the year of the expiry date.
    #[error("the year of the expiry date cannot be told by two digits")]
    Expiry,
    /// A scanner could read the code in two ways, because of how the lot number looks.
    #[error("the code could be read in two ways")]
    Ambiguous,
}

impl LabelError {
    /// The code in the message catalogue.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing(_) => "label_missing",
            Self::Character(_) => "label_character",
            Self::TooLong(_) => "label_too_long",
            Self::LotNotGs1 => "label_lot_not_gs1",
            Self::LotTooLong => "label_lot_too_long",
            Self::Serial => "label_serial",
            Self::Gtin => "label_gtin",
            Self::Expiry => "label_expiry",
            Self::Ambiguous => "label_ambiguous",
        }
    }
}
