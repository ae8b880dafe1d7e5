//! What regular expressions may take, reckoned before any of them is compiled.
//!
//! Forty bytes of pattern can ask for megabytes of program: `\pL{1000}` does. The engine's own limit holds for one pattern
//! and only after the work was done, so many patterns together would still take minutes. Here the size of the program is
//! estimated from the syntax, which takes time in proportion to the text.

use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    Ast, ClassPerlKind, ClassSet, ClassSetItem, Flag, FlagsItemKind, GroupKind, RepetitionKind,
    RepetitionRange,
};

/// Bytes of program that one pattern may take.
pub(super) const ONE: usize = 1 << 20;
/// Bytes of program that all patterns of a configuration may take together.
const ALL: usize = 8 << 20;

/// One state of a program, and what is kept beside it.
const STATE: usize = 64;
/// Any character, in UTF-8.
const ANY: usize = 2 << 10;
/// A class with hundreds of ranges, such as letters.
const LARGE_CLASS: usize = 64 << 10;

/// A pattern that takes too much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the regular expression {pattern:?} takes about {} KiB compiled and {} KiB are left (one may take {} KiB, all together {} KiB); repeat less, or write [a-z] instead of \\w or \\pL",
    .needed.div_ceil(1024), .left >> 10, ONE >> 10, ALL >> 10
)]
pub struct TooLarge {
    /// The pattern, cut short.
    pub pattern: String,
    /// Bytes it is estimated to take.
    pub needed: usize,
    /// Bytes it might have taken.
    pub left: usize,
}

/// What the patterns of one configuration may still take.
#[derive(Clone, Debug)]
pub struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: ALL }
    }
}

impl Budget {
    /// Takes what `pattern` needs from the budget.
    ///
    /// # Errors
    /// Where too little is left, or where one pattern may not take as much.
    pub fn spend(&mut self, pattern: &str) -> Result<(), TooLarge> {
        let needed = estimate(pattern);
        let left = self.left.min(ONE);
        if needed > left {
            let pattern = pattern.chars().take(64).collect();
            return Err(TooLarge { pattern, needed, left });
        }
        self.left -= needed;
        Ok(())
    }
}

/// Bytes that the program of `pattern` takes at most, whichever dialect it is read in.
pub(super) fn estimate(pattern: &str) -> usize {
    // What is no pattern in any dialect is refused by the engine before it compiles anything.
    let read = [pattern.to_owned(), super::translated(pattern), super::braces_escaped(pattern)];
    read.iter().filter_map(|text| Some(of_syntax(&Parser::new().parse(text).ok()?))).max().unwrap_or_default()
}

fn of_syntax(ast: &Ast) -> usize {
    // A letter in either case is two, and folding a class makes it larger.
    let size = size(ast).saturating_add(STATE * 16);
    if folds_case(ast) { size.saturating_mul(8) } else { size }
}

fn size(ast: &Ast) -> usize {
    match ast {
        Ast::Empty(_) | Ast::Flags(_) | Ast::Assertion(_) => STATE,
        Ast::Literal(literal) => STATE * literal.c.len_utf8(),
        Ast::Dot(_) => ANY,
        Ast::ClassUnicode(_) => LARGE_CLASS,
        Ast::ClassPerl(class) => of_perl_class(&class.kind),
        Ast::ClassBracketed(class) => {
            of_set(&class.kind).saturating_add(if class.negated { 2 * ANY } else { STATE })
        }
        Ast::Repetition(repetition) => {
            let (least, most) = times(&repetition.op.kind);
            let copies = most.unwrap_or(least.saturating_add(1)).max(1) as usize;
            size(&repetition.ast).saturating_add(STATE).saturating_mul(copies)
        }
        Ast::Group(group) => size(&group.ast).saturating_add(2 * STATE),
        Ast::Alternation(alternation) => sum(&alternation.asts),
        Ast::Concat(concat) => sum(&concat.asts),
    }
}

fn sum(parts: &[Ast]) -> usize {
    parts.iter().fold(STATE, |sum, part| sum.saturating_add(size(part)).saturating_add(STATE))
}

/// How often at least, and at most.
fn times(kind: &RepetitionKind) -> (u32, Option<u32>) {
    match kind {
        RepetitionKind::ZeroOrOne => (0, Some(1)),
        RepetitionKind::ZeroOrMore => (0, None),
        RepetitionKind::OneOrMore => (1, None),
        RepetitionKind::Range(RepetitionRange::Exactly(times)) => (*times, Some(*times)),
        RepetitionKind::Range(RepetitionRange::AtLeast(times)) => (*times, None),
        RepetitionKind::Range(RepetitionRange::Bounded(least, most)) => (*least, Some(*most)),
    }
}

fn of_perl_class(kind: &ClassPerlKind) -> usize {
    match kind {
        ClassPerlKind::Digit => 4 * ANY,
        ClassPerlKind::Space => ANY,
        ClassPerlKind::Word => LARGE_CLASS,
    }
}

fn of_set(set: &ClassSet) -> usize {
    match set {
        ClassSet::Item(item) => of_item(item),
        ClassSet::BinaryOp(op) => of_set(&op.lhs).saturating_add(of_set(&op.rhs)).saturating_add(2 * ANY),
    }
}

fn of_item(item: &ClassSetItem) -> usize {
    match item {
        ClassSetItem::Empty(_) => 0,
        ClassSetItem::Literal(literal) => STATE * literal.c.len_utf8(),
        ClassSetItem::Range(range) if range.end.c.is_ascii() => STATE,
        ClassSetItem::Range(_) => ANY,
        ClassSetItem::Ascii(_) => 4 * STATE + ANY,
        ClassSetItem::Unicode(_) => LARGE_CLASS,
        ClassSetItem::Perl(class) => of_perl_class(&class.kind),
        ClassSetItem::Bracketed(class) => of_set(&class.kind).saturating_add(2 * ANY),
        ClassSetItem::Union(union) => {
            union.items.iter().fold(0, |sum, item| sum.saturating_add(of_item(item)))
        }
    }
}

fn folds_case(ast: &Ast) -> bool {
    let folds = |flags: &regex_syntax::ast::Flags| {
        flags.items.iter().any(|item| item.kind == FlagsItemKind::Flag(Flag::CaseInsensitive))
    };
    match ast {
        Ast::Flags(set) => folds(&set.flags),
        Ast::Group(group) => {
            matches!(&group.kind, GroupKind::NonCapturing(flags) if folds(flags)) || folds_case(&group.ast)
        }
        Ast::Repetition(repetition) => folds_case(&repetition.ast),
        Ast::Alternation(alternation) => alternation.asts.iter().any(folds_case),
        Ast::Concat(concat) => concat.asts.iter().any(folds_case),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERNS: [&str; 24] = [
        "",
        "a",
        "lo|veth.*|docker.*|br-.*|cni.*|cali.*|flannel.*|virbr.*|ifb.*",
        ".+",
        r"\pL",
        r"\pL{20}",
        r"\PL{20}",
        r"\w+",
        r"\W+",
        r"\d{1,3}(\.\d{1,3}){3}",
        r"\S+\s",
        "[^a-z]{50}",
        "[[:^alpha:]]{50}",
        "(?i)straße{30}",
        r"(?i)\pL{5}",
        "(?i)[k-s]{30}",
        "[é-ž]{100}",
        "(a|b|c){2,90}",
        "((a{10}){10}){10}",
        "(){500}",
        r"(?P<first>[a-z]+)-(\d+)",
        r"[\w&&[^\d]]{10}",
        r"^\b.{200}$",
        r"\w{10}{",
    ];

    #[test]
    fn the_estimate_is_no_less_than_what_the_engine_takes() {
        for pattern in PATTERNS {
            let estimate = estimate(pattern);
            for text in [pattern.to_owned(), super::super::translated(pattern)] {
                let is_pattern = Parser::new().parse(&text).is_ok();
                let compiled =
                    regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(estimate.max(1)).build();
                assert!(compiled.is_ok() || !is_pattern, "{pattern}: {estimate}: {compiled:?}");
            }
        }
    }

    #[test]
    fn what_people_write_takes_little_and_bombs_are_refused_unread() {
        for pattern in ["lo|veth.*|docker.*|br-.*|cni.*|cali.*|flannel.*|virbr.*|ifb.*", "5..", r"\d+"] {
            assert!(estimate(pattern) < 32 << 10, "{pattern}: {}", estimate(pattern));
        }
        for pattern in [r"\pL{1000}", "((((a{1000}){1000}){1000}){1000})", "(){4294967295}", r"\w{900}{"] {
            assert!(Budget::default().spend(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_small_patterns_share_one_budget() {
        let mut budget = Budget::default();
        let taken = (0..10_000).take_while(|_| budget.spend(r"\pL{10}").is_ok()).count();
        assert!((5..ALL / (10 * LARGE_CLASS) + 1).contains(&taken), "{taken}");
        assert!(budget.spend("eth.*").is_ok() || budget.left < 8 << 10);
    }
}
