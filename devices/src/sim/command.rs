//! What a person or a script tells a simulated scanner, one line each.

use crate::frame::starts_with_aim_identifier;

/// One line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line that starts with none of the marks below is scanned as it stands; one that starts with `"` is a
    /// JSON string, and its UTF-8 bytes are scanned.
    Scan(Vec<u8>),
    /// `!double DATA`: the scan comes twice.
    Double(Vec<u8>),
    /// `!half DATA`: the first half of the data comes, and no terminator.
    Half(Vec<u8>),
    /// `!noise HEX`: exactly these bytes come.
    Noise(Vec<u8>),
    /// `!unplug`
    Unplug,
    /// `!replug`
    Replug,
}

/// Why a line is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It starts with a quotation mark.
    #[error("starts with a quotation mark and is not a JSON string")]
    NotJson,
    /// The data of `!noise`.
    #[error("!noise takes pairs of hexadecimal digits")]
    NotHex,
    /// It starts with `!`.
    #[error("no such command: there are !unplug, !replug, !half DATA, !double DATA, !noise HEX")]
    Unknown,
    /// The command needs data.
    #[error("there is nothing to send")]
    Empty,
}

/// Understands one line, given without its end.
///
/// # Errors
/// The line is none of the forms of [`Command`].
pub fn parse_command(line: &str) -> Result<Command, CommandError> {
    let Some(command) = line.strip_prefix('!') else {
        return Ok(Command::Scan(parse_data(line)?));
    };
    let (name, data) = command.split_once(' ').unwrap_or((command, ""));
    match name {
        "unplug" if data.is_empty() => Ok(Command::Unplug),
        "replug" if data.is_empty() => Ok(Command::Replug),
        "half" => Ok(Command::Half(parse_data(data)?)),
        "double" => Ok(Command::Double(parse_data(data)?)),
        "noise" => Ok(Command::Noise(parse_hex(data)?)),
        _ => Err(CommandError::Unknown),
    }
}

/// The line that [`parse_command`] understands as a scan of these characters, whatever they are.
#[must_use]
pub fn render_scan(data: &str) -> String {
    serde_json::Value::from(data).to_string()
}

/// What a scanner with AIM identifiers switched off sends.
#[must_use]
pub fn without_aim_identifier(bytes: &[u8]) -> &[u8] {
    if starts_with_aim_identifier(bytes) { bytes.get(3..).unwrap_or_default() } else { bytes }
}

fn parse_data(data: &str) -> Result<Vec<u8>, CommandError> {
    let bytes = if data.starts_with('"') {
        serde_json::from_str::<String>(data).map_err(|_| CommandError::NotJson)?.into_bytes()
    } else {
        data.as_bytes().to_vec()
    };
    if bytes.is_empty() { Err(CommandError::Empty) } else { Ok(bytes) }
}

fn parse_hex(data: &str) -> Result<Vec<u8>, CommandError> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let bytes: Option<Vec<u8>> = data
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    match bytes {
        Some(bytes) if bytes.is_empty() => Err(CommandError::Empty),
        Some(bytes) => Ok(bytes),
        None => Err(CommandError::NotHex),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_line_is_what_it_says() {
        let cases = [
            ("LOT-42", Ok(Command::Scan(b"LOT-42".to_vec()))),
            (r#""]d20104\u001d21\"\\""#, Ok(Command::Scan(b"]d20104\x1d21\"\\".to_vec()))),
            ("\"é\"", Ok(Command::Scan("é".as_bytes().to_vec()))),
            (r#""!unplug""#, Ok(Command::Scan(b"!unplug".to_vec()))),
            ("!double A B", Ok(Command::Double(b"A B".to_vec()))),
            (r#"!half "\u0000""#, Ok(Command::Half(vec![0]))),
            ("!noise 00fFA0", Ok(Command::Noise(vec![0, 0xff, 0xa0]))),
            ("!unplug", Ok(Command::Unplug)),
            ("!replug", Ok(Command::Replug)),
            ("", Err(CommandError::Empty)),
            ("!half", Err(CommandError::Empty)),
            ("!noise", Err(CommandError::Empty)),
            ("!noise 0", Err(CommandError::NotHex)),
            ("!noise +f", Err(CommandError::NotHex)),
            ("!unplug now", Err(CommandError::Unknown)),
            ("!eject", Err(CommandError::Unknown)),
            ("\"A", Err(CommandError::NotJson)),
        ];
        for (line, wanted) in cases {
            assert_eq!(parse_command(line), wanted, "{line}");
        }
    }

    #[test]
    fn an_aim_identifier_is_left_out_only_where_there_is_one() {
        assert_eq!(without_aim_identifier(b"]d201"), b"01", "left out");
        assert_eq!(without_aim_identifier(b"]-1"), b"]-1", "not one");
        assert_eq!(without_aim_identifier(b"]d"), b"]d", "not a whole one");
    }

    proptest! {
        #[test]
        fn any_text_can_be_scanned(text in "(?s).{1,40}") {
            prop_assert_eq!(parse_command(&render_scan(&text)), Ok(Command::Scan(text.into_bytes())));
        }

        #[test]
        fn no_line_panics(line in "(?s)[!\"]?(noise |half )?.{0,20}") {
            let _ = parse_command(&line);
        }
    }
}
