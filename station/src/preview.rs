//! The picture of a label for the screen, drawn from the very bytes that the printer gets (LBL-2).
//!
//! It is a preview: letters are near those of the printer, not the same. What counts as evidence is the code that is
//! read back from the printed label.

use std::panic::{AssertUnwindSafe, catch_unwind};

use labelize::{Language, RenderOptions, render_png};
use lotgate_domain::label::{DOTS_PER_MM, HEIGHT_MM, WIDTH_MM};

/// There is no picture; the label itself is not changed by that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreviewError {
    /// The renderer does not understand the bytes.
    #[error("the preview cannot be drawn: {0}")]
    Unreadable(String),
    /// The bytes are not exactly one label.
    #[error("not one label but {0}")]
    NotOne(usize),
    /// The renderer failed.
    #[error("the renderer failed")]
    Failed,
}

impl PreviewError {
    /// The code in the message catalogue; a person can do the same about each.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "label_no_preview"
    }
}

/// Draws the label that `zpl` prints as PNG, a pixel for a dot.
///
/// # Errors
/// [`PreviewError`]; bytes of [`lotgate_domain::label::ContainerLabel::compile`] give none.
pub fn png(zpl: &[u8]) -> Result<Vec<u8>, PreviewError> {
    let options = RenderOptions {
        language: Some(Language::Zpl),
        width_mm: Some(f64::from(WIDTH_MM)),
        height_mm: Some(f64::from(HEIGHT_MM)),
        dpmm: i32::try_from(DOTS_PER_MM).unwrap_or(8),
        antialias: false,
    };
    // A picture must not end the station, whatever the renderer does.
    match catch_unwind(AssertUnwindSafe(|| render_png(zpl, options))) {
        Ok(Ok(drawn)) if drawn.labels == 1 => Ok(drawn.bytes),
        Ok(Ok(drawn)) => Err(PreviewError::NotOne(drawn.labels)),
        Ok(Err(error)) => Err(PreviewError::Unreadable(error.to_string())),
        Err(_) => Err(PreviewError::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_one_label_give_a_closed_error() {
        assert!(matches!(png(b""), Err(PreviewError::Unreadable(_))));
        assert!(png(b"\xff\x00^XA^BXN,7,200,32,32,,_^FH\\^FD_9^FS^XZ").is_err());
        let two = b"^XA^FDa^FS^XZ^XA^FDb^FS^XZ";
        assert_eq!(png(two), Err(PreviewError::NotOne(2)));
    }
}
