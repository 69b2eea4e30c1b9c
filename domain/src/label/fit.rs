//! Which characters the printer's scalable font has, how wide they are, and how a text fits into its place.

/// A height of letters in dots, and in how many lines at most.
pub(super) type Size = (u32, usize);

/// A text that fits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fitted {
    /// Height of the letters in dots.
    pub(super) height: u32,
    /// Its lines; joined they are the text.
    pub(super) lines: Vec<String>,
}

impl Fitted {
    /// From one base line to the next: what goes below one does not touch what is above the other.
    pub(super) const fn pitch(&self) -> u32 {
        self.height * 9 / 8
    }

    /// From the first base line to the last.
    pub(super) fn below(&self) -> u32 {
        let lines = u32::try_from(self.lines.len()).unwrap_or(1);
        self.pitch() * lines.saturating_sub(1)
    }
}

/// Fits `text` into `width` dots: the first of `sizes` in which all of it stands without a word broken; else the first
/// in which it stands; else the last, filled to the edge. `None` if that is not enough either.
pub(super) fn fit(text: &str, width: u32, sizes: &[Size]) -> Option<Fitted> {
    let lines_of = |(height, most): Size, lines: fn(&str, u32) -> Vec<String>| {
        let lines = lines(text, room(width, height));
        (lines.len() <= most).then_some(Fitted { height, lines })
    };
    let whole = |(height, _): &&Size| words(text).all(|word| word_width(word) <= room(width, *height));
    let unbroken = sizes.iter().filter(whole).find_map(|size| lines_of(*size, wrap));
    let broken = || sizes.iter().find_map(|size| lines_of(*size, wrap));
    unbroken.or_else(broken).or_else(|| lines_of(*sizes.last()?, fill))
}

/// A width in dots as thousandths of the letters' height.
fn room(width: u32, height: u32) -> u32 {
    width.saturating_mul(1000) / height.max(1)
}

/// The pieces between which a line may end.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', '-'])
}

fn word_width(word: &str) -> u32 {
    advance_of(word.trim_end())
}

/// Lines of at most `room` thousandths of the letters' height, broken after spaces and hyphens; within a word
/// only where it is longer than a line.
fn wrap(text: &str, room: u32) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(text) {
        let wide = word_width(word);
        let used = lines.last().map_or(0, |line| advance_of(line));
        if used > 0 && used + wide > room && wide <= room {
            lines.push(String::new());
        }
        add(&mut lines, word, room);
    }
    lines
}

/// Lines of at most `room` thousandths of the letters' height, as full as they get.
fn fill(text: &str, room: u32) -> Vec<String> {
    let mut lines = vec![String::new()];
    add(&mut lines, text, room);
    lines
}

/// Adds characters to the last line, and begins another where one does not fit.
fn add(lines: &mut Vec<String>, text: &str, room: u32) {
    for character in text.chars() {
        let used = lines.last().map_or(0, |line| advance_of(line));
        // A space at the end of a line is not seen.
        if used > 0 && used + advance(character) > room && character != ' ' {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push(character);
        }
    }
}

fn advance_of(text: &str) -> u32 {
    text.chars().map(advance).sum()
}

/// Whether every printer prints just these characters. Some take `\&` for a line break, wherever it stands.
pub(super) fn is_printable(text: &str) -> bool {
    text.chars().all(has_glyph) && !text.contains("\\&")
}

/// Whether the resident scalable font (font 0) of every printer that speaks UTF-8 has the character: Windows code
/// pages 1250, 1252 and 1254. Elsewhere it would print a blank, and what stands on the label would be wrong.
fn has_glyph(character: char) -> bool {
    matches!(
        character,
        ' '..='~'
            | '\u{a1}'..='\u{ac}'
            | '\u{ae}'..='ÿ'
            | 'Ă'..='ć' | 'Č'..='đ' | 'Ę'..='ě' | 'Ğ' | 'ğ' | 'İ' | 'ı' | 'Ĺ' | 'ĺ' | 'Ľ' | 'ľ' | 'Ł'..='ń' | 'Ň' | 'ň'
            | 'Ő'..='ŕ' | 'Ř'..='ś' | 'Ş'..='ť' | 'Ů'..='ű' | 'Ÿ'..='ž'
            | '–' | '—' | '‘'..='‚' | '“'..='„' | '†'..='•' | '…' | '‰' | '‹' | '›' | '€' | '™'
    )
}

/// The width of a character of font 0 in thousandths of its height, rounded up: a text may be narrower than this
/// says, never wider.
fn advance(character: char) -> u32 {
    match character {
        'i'
        | 'j'
        | 'l'
        | '\''
        | '¦'
        | 'I'
        | 'f'
        | 't'
        | 'ţ'
        | ' '
        | '!'
        | '('
        | ')'
        | ','
        | '.'
        | '/'
        | ':'
        | ';'
        | '['
        | ']'
        | '`'
        | 'Ì'..='Ï'
        | 'ì'..='ï'
        | 'İ'
        | 'ı'
        | '‘'
        | '’'
        | '‚'
        | '‹'
        | '›' => 320,
        'r'
        | 'ł'
        | 'ª'
        | '¹'..='º'
        | '²'
        | '³'
        | 'ř'
        | 'ť'
        | 'ŕ'
        | 'ľ'
        | 'ĺ'
        | '¡'
        | '¨'
        | '¯'
        | '´'
        | '·'
        | '¸' => 370,
        '0'..='9' | '_' => 530,
        'w' => 700,
        'm' | 'M' | 'æ' | 'œ' | '¼'..='¾' => 780,
        'W' | 'Æ' => 840,
        '%' | '+' | '-' | '=' | '@' | '–' | '—' | '©' | '®' | 'Œ' | '™' => 940,
        '<' | '>' | '…' => 1020,
        '‰' => 1160,
        'ď' | 'ß' => 560,
        _ if character.is_lowercase() => 540,
        _ => 640,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_joined_are_the_text() {
        for text in ["a", "ab  cd ", " x", "WWWWWWWWWWWWWWWW", "one two three four five", "a WWWWWWWWWWWWW b"]
        {
            for room in [1, 700, 2000, 5000, 100_000] {
                assert_eq!(wrap(text, room).concat(), text);
                assert_eq!(fill(text, room).concat(), text);
            }
        }
    }

    #[test]
    fn a_text_breaks_between_words_and_a_long_word_within() {
        assert_eq!(wrap("aaaa bbbb", 2500), ["aaaa ", "bbbb"]);
        assert_eq!(wrap("aaaaaa", 1700), ["aaa", "aaa"]);
        assert_eq!(wrap("aaa-bb-c", 3000), ["aaa-", "bb-c"]);
        assert_eq!(wrap("a aaaaaa", 1700), ["a a", "aaa", "aa"]);
    }

    #[test]
    fn smaller_letters_are_better_than_a_broken_word() {
        let sizes = [(40, 2), (20, 2)];
        assert_eq!(
            fit("aaaa bb", 60, &sizes),
            Some(Fitted { height: 20, lines: vec!["aaaa ".into(), "bb".into()] })
        );
        assert_eq!(fit("aaaaaaaaaa", 60, &sizes).unwrap().lines, ["aaaaa", "aaaaa"]);
    }

    #[test]
    fn the_largest_size_that_fits_is_taken_and_none_cuts() {
        let sizes = [(40, 1), (20, 1), (20, 2)];
        assert_eq!(fit("00", 53, &sizes), Some(Fitted { height: 40, lines: vec!["00".into()] }));
        assert_eq!(fit("0000", 53, &sizes), Some(Fitted { height: 20, lines: vec!["0000".into()] }));
        assert_eq!(fit("000000", 53, &sizes).unwrap().lines, ["00000", "0"]);
        assert_eq!(fit("000 0000 0", 53, &sizes).unwrap().lines, ["000 0", "000 0"]);
        assert_eq!(fit("00000000000", 53, &sizes), None);
    }
}
