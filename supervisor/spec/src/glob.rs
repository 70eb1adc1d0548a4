//! Glob patterns as Go's `path.Match` reads them, which is what `Conflicts=` and `Replaces=` are matched with.
//!
//! ```text
//! *        any run of characters but '/'
//! ?        any one character but '/'
//! [a-z]    one of a class, [^a-z] one outside it
//! \c       the character c
//! ```
//!
//! A malformed pattern matches nothing, as in fleet.

/// One step of a compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Star,
    Any,
    Literal(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A compiled pattern. Compile once where one pattern meets many names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// None for a malformed pattern, which matches nothing.
    steps: Option<Vec<Step>>,
}

impl Glob {
    /// Compiles `pattern`; a malformed one gives a glob that matches nothing.
    pub fn new(pattern: &str) -> Glob {
        Glob {
            steps: compile(pattern),
        }
    }

    /// Does the whole of `text` match?
    pub fn matches(&self, text: &str) -> bool {
        self.steps.as_deref().is_some_and(|steps| run(steps, text))
    }

    /// The literal text every match begins with; the whole pattern when it has no wildcard (see [`Glob::is_literal`]).
    pub fn literal_prefix(&self) -> String {
        self.steps
            .iter()
            .flatten()
            .map_while(|step| {
                if let Step::Literal(c) = step {
                    Some(*c)
                } else {
                    None
                }
            })
            .collect()
    }

    /// True when the pattern matches exactly one text, its [`Glob::literal_prefix`].
    pub fn is_literal(&self) -> bool {
        self.steps
            .as_ref()
            .is_some_and(|steps| steps.iter().all(|s| matches!(s, Step::Literal(_))))
    }
}

/// Does `pattern` match the whole of `text`? Malformed patterns match nothing.
pub fn glob_match(pattern: &str, text: &str) -> bool {
    Glob::new(pattern).matches(text)
}

fn compile(pattern: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        steps.push(match c {
            '*' => Step::Star,
            '?' => Step::Any,
            '\\' => Step::Literal(rest.next()?),
            '[' => class(&mut rest)?,
            c => Step::Literal(c),
        });
    }
    Some(steps)
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Step> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.next_if_eq(&']').is_some() {
            return Some(Step::Class { negated, ranges });
        }
        let low = class_char(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() {
            class_char(rest)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

/// One character of a class; '-' and ']' must be escaped to stand for themselves.
fn class_char(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        c => Some(c),
    }
}

/// Matches with one point of return: the last star seen. Linear in practice, quadratic at worst.
fn run(steps: &[Step], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut s, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while s < steps.len() || t < text.len() {
        if let Some(Step::Star) = steps.get(s) {
            back = Some((s, t));
            s += 1;
            continue;
        }
        if s < steps.len() && t < text.len() && matches_one(&steps[s], text[t]) {
            s += 1;
            t += 1;
            continue;
        }
        match back {
            Some((star, at)) if at < text.len() && text[at] != '/' => {
                back = Some((star, at + 1));
                s = star + 1;
                t = at + 1;
            }
            _ => return false,
        }
    }
    true
}

fn matches_one(step: &Step, c: char) -> bool {
    match step {
        Step::Star => false,
        Step::Any => c != '/',
        Step::Literal(l) => *l == c,
        Step::Class { negated, ranges } => ranges.iter().any(|(l, h)| (*l..=*h).contains(&c)) != *negated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The table of Go's own path/match_test.go, as far as it asks for behaviour and not for error values.
    const TABLE: &[(&str, &str, bool)] = &[
        ("abc", "abc", true),
        ("*", "abc", true),
        ("*c", "abc", true),
        ("a*", "a", true),
        ("a*", "abc", true),
        ("a*", "ab/c", false),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("ab[c]", "abc", true),
        ("ab[b-d]", "abc", true),
        ("ab[e-g]", "abc", false),
        ("ab[^c]", "abc", false),
        ("ab[^e-g]", "abc", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("a?b", "a☺b", true),
        ("a[^a]b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("a?b", "a/b", false),
        ("a*b", "a/b", false),
        ("[\\]a]", "]", true),
        ("[\\-]", "-", true),
        ("[x\\-]", "x", true),
        ("[]a]", "]", false),
        ("[-]", "-", false),
        ("[x-]", "x", false),
        ("[a-b-c]", "a", false),
        ("[", "a", false),
        ("[^", "a", false),
        ("a[", "a", false),
        ("a[", "ab", false),
        ("a\\", "a", false),
        ("*x", "xxx", true),
        ("", "", true),
        ("", "a", false),
        ("paas-monitor@*.service", "paas-monitor@1.service", true),
        ("paas-monitor@*.service", "paas-monitor.service", false),
    ];

    #[test]
    fn matches_as_go_does() {
        for (pattern, text, want) in TABLE {
            assert_eq!(glob_match(pattern, text), *want, "{pattern:?} against {text:?}");
        }
    }

    #[test]
    fn prefixes_narrow_the_search() {
        assert_eq!(Glob::new("web@*.service").literal_prefix(), "web@");
        assert!(!Glob::new("web@*.service").is_literal());
        assert!(Glob::new("web.service").is_literal());
        assert_eq!(Glob::new("[").literal_prefix(), "");
    }
}
