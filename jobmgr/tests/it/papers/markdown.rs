//! As much of Markdown as the papers need.

/// A block between fences.
#[derive(Debug)]
pub struct Block {
    /// The word behind the opening fence.
    pub kind: String,
    /// What stands in it, with a newline at the end.
    pub text: String,
}

/// The text below the heading of this name, up to the next heading of the same or a higher level.
pub fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let start = text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no {heading:?}")) + 1;
    let level = heading.bytes().take_while(|byte| *byte == b'#').count();
    let body = &text[start + heading.len()..];
    let ends = |line: &str| line.starts_with('#') && line.bytes().take_while(|byte| *byte == b'#').count() <= level;
    let mut fenced = false;
    let mut length = 0;
    for line in body.split_inclusive('\n') {
        fenced ^= line.starts_with("```");
        if !fenced && ends(line) {
            break;
        }
        length += line.len();
    }
    &body[..length]
}

/// The blocks of a text, in their order.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(kind), None) => open = Some(Block { kind: kind.to_owned(), text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// The lines outside fences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .scan(false, |fenced, line| {
            let fence = line.starts_with("```");
            *fenced ^= fence;
            Some((!*fenced && !fence).then_some(line))
        })
        .flatten()
}

/// Where the links of a text lead.
pub fn links(text: &str) -> Vec<&str> {
    let ends = prose(text).flat_map(|line| line.split("](").skip(1));
    ends.map(|rest| rest.split(')').next().unwrap_or(rest)).collect()
}

/// The names by which a text's headings can be linked to, as GitHub makes them.
pub fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#').trim())).collect()
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// What stands between single backticks outside fences.
pub fn code(text: &str) -> Vec<&str> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}
