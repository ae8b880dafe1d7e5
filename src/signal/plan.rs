//! From PromQL text to a plan of what is supported.

use std::time::Duration;

use promql_parser::label::{Labels as LabelNames, Matchers};
use promql_parser::parser::{
    self, AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, Offset, VectorMatchCardinality,
    VectorSelector, token,
};

use super::LOOKBACK;
use crate::series::{Labels, METRIC_NAME};
use crate::setting::Span;

/// Longest expression taken.
const LONGEST: usize = 8192;
/// Deepest nesting taken; the parser's time grows steeply with it.
const DEEPEST: usize = 64;

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// Longer than anybody writes.
    #[error("expression of {0} bytes; at most {LONGEST} are taken")]
    TooLong(usize),
    /// Deeper than anybody reads.
    #[error("brackets nested {0} deep; at most {DEEPEST} are taken")]
    TooDeep(usize),
    /// Not PromQL.
    #[error("cannot parse: {0}")]
    Syntax(String),
    /// PromQL that is not supported here.
    #[error("{0} is not supported in signals")]
    Unsupported(String),
    /// A signal that is no number.
    #[error("gives a {0}; a signal needs an instant vector or a scalar")]
    NotASignal(&'static str),
}

/// What `$__…` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macros {
    /// `$__rate_interval`.
    pub rate_interval: Duration,
}

/// A signal's expression, ready for evaluation.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) root: Node,
    pub(super) selectors: Vec<Selector>,
}

/// Which series, and when relative to the evaluation.
#[derive(Clone, Debug)]
pub struct Selector {
    matchers: Matchers,
    name: Option<String>,
    /// Milliseconds back from the evaluation; negative for the future.
    pub(super) offset: i64,
    /// Range, or lookback of an instant selector.
    pub(super) range: Duration,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Number(f64),
    Text(String),
    /// Position in [`Plan::selectors`].
    Instant(usize),
    Range(usize),
    Call(&'static str, Vec<Node>),
    Negate(Box<Node>),
    Aggregate {
        op: &'static str,
        grouping: Grouping,
        param: Option<Box<Node>>,
        of: Box<Node>,
    },
    Binary {
        op: Op,
        /// Comparison gives 0 or 1 instead of filtering.
        as_bool: bool,
        matching: Matching,
        left: Box<Node>,
        right: Box<Node>,
    },
}

/// Which labels make a group: those named, or all but those named.
#[derive(Clone, Debug)]
pub(super) enum Grouping {
    By(Vec<String>),
    Without(Vec<String>),
}

impl Grouping {
    /// The labels of `labels` that make its group; never the metric name, unless asked for by name.
    pub(super) fn key(&self, labels: &Labels) -> Labels {
        match self {
            Self::By(names) if names.is_empty() => Labels::empty(),
            Self::By(names) => labels.without(|name| !names.iter().any(|n| n == name)),
            Self::Without(names) => {
                labels.without(|name| name == METRIC_NAME || names.iter().any(|n| n == name))
            }
        }
    }
}

/// How the sides of an operator find each other.
#[derive(Clone, Debug)]
pub(super) struct Matching {
    pub(super) on: Grouping,
    pub(super) card: Card,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Card {
    OneToOne,
    /// Many on the left; labels taken over from the right.
    ManyToOne(Vec<String>),
    /// Many on the right; labels taken over from the left.
    OneToMany(Vec<String>),
    ManyToMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    Unless,
}

impl Op {
    pub(super) fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    pub(super) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// Functions of one instant vector or of scalars.
const PLAIN: [&str; 17] = [
    "abs",
    "ceil",
    "floor",
    "round",
    "exp",
    "ln",
    "log2",
    "log10",
    "sqrt",
    "sgn",
    "clamp",
    "clamp_min",
    "clamp_max",
    "scalar",
    "vector",
    "time",
    "timestamp",
];

/// Functions of a range.
const RANGED: [&str; 16] = [
    "rate",
    "irate",
    "increase",
    "delta",
    "idelta",
    "changes",
    "resets",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "quantile_over_time",
];

impl Plan {
    /// Reads `expr`, with macros replaced first.
    pub fn parse(expr: &str, macros: &Macros) -> Result<Self, ExprError> {
        let expr = expr.replace("$__rate_interval", &Span(macros.rate_interval).to_string());
        check_size(&expr)?;
        let parsed = parser::parse(&expr).map_err(|error| ExprError::Syntax(one_line(&error)))?;
        let mut selectors = Vec::new();
        let root = lower(&parsed, &mut selectors)?;
        Ok(Self { root, selectors })
    }

    /// Like [`Plan::parse`], for an expression whose value is to be judged.
    pub fn signal(expr: &str, macros: &Macros) -> Result<Self, ExprError> {
        let plan = Self::parse(expr, macros)?;
        match plan.root {
            Node::Range(_) => Err(ExprError::NotASignal("range vector")),
            Node::Text(_) => Err(ExprError::NotASignal("string")),
            _ => Ok(plan),
        }
    }

    /// The series of one name, which may be any text, as a signal.
    pub fn column(name: &str) -> Self {
        let matcher =
            promql_parser::label::Matcher::new(promql_parser::label::MatchOp::Equal, METRIC_NAME, name);
        let matchers = Matchers::one(matcher);
        let selector = Selector { matchers, name: Some(name.to_owned()), offset: 0, range: LOOKBACK };
        Self { root: Node::Instant(0), selectors: vec![selector] }
    }

    /// What the plan reads.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// How far back the plan reads.
    pub fn longest_range(&self) -> Duration {
        let back = |s: &Selector| s.range + Duration::from_millis(s.offset.max(0) as u64);
        self.selectors.iter().map(back).max().unwrap_or_default()
    }
}

impl Selector {
    /// How far back it reads: its range, or the lookback of an instant selector.
    pub fn range(&self) -> Duration {
        self.range
    }

    /// Whether a series of this name may be meant; for a look before its labels are read.
    pub fn may_want(&self, name: &str) -> bool {
        self.name.as_deref().is_none_or(|wanted| wanted == name)
    }

    /// Whether the series is meant.
    pub fn wants(&self, labels: &Labels) -> bool {
        let matches = |m: &promql_parser::label::Matcher| m.is_match(labels.get(&m.name).unwrap_or_default());
        self.may_want(labels.name()) && self.matchers.matchers.iter().all(matches)
    }
}

/// `expr` with macros replaced, and every selector asking for `labels` as well: what a target's signal is called where
/// series of many targets are kept.
pub fn narrowed(expr: &str, macros: &Macros, labels: &[(String, String)]) -> Result<String, ExprError> {
    let expr = expr.replace("$__rate_interval", &Span(macros.rate_interval).to_string());
    check_size(&expr)?;
    let mut parsed = parser::parse(&expr).map_err(|error| ExprError::Syntax(one_line(&error)))?;
    narrow(&mut parsed, labels);
    Ok(parsed.to_string())
}

fn narrow(expr: &mut Expr, labels: &[(String, String)]) {
    let ask = |selector: &mut VectorSelector| {
        for (name, value) in labels {
            let matcher =
                promql_parser::label::Matcher::new(promql_parser::label::MatchOp::Equal, name, value);
            selector.matchers.matchers.push(matcher);
        }
    };
    match expr {
        Expr::Aggregate(aggregate) => narrow(&mut aggregate.expr, labels),
        Expr::Unary(unary) => narrow(&mut unary.expr, labels),
        Expr::Binary(binary) => {
            narrow(&mut binary.lhs, labels);
            narrow(&mut binary.rhs, labels);
        }
        Expr::Paren(paren) => narrow(&mut paren.expr, labels),
        Expr::Subquery(subquery) => narrow(&mut subquery.expr, labels),
        Expr::VectorSelector(selector) => ask(selector),
        Expr::MatrixSelector(range) => ask(&mut range.vs),
        Expr::Call(call) => call.args.args.iter_mut().for_each(|argument| narrow(argument, labels)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn check_size(expr: &str) -> Result<(), ExprError> {
    if expr.len() > LONGEST {
        return Err(ExprError::TooLong(expr.len()));
    }
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in expr.bytes() {
        match byte {
            b'(' | b'{' | b'[' => depth += 1,
            b')' | b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    // A chain of signs nests as brackets do.
    let signs = expr.split(|c: char| c != '-' && c != '+' && c != ' ').map(|run| run.replace(' ', "").len());
    deepest = deepest.max(signs.max().unwrap_or(0));
    if deepest > DEEPEST { Err(ExprError::TooDeep(deepest)) } else { Ok(()) }
}

fn one_line(error: &str) -> String {
    error.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unsupported<T>(what: impl Into<String>) -> Result<T, ExprError> {
    Err(ExprError::Unsupported(what.into()))
}

fn lower(expr: &Expr, selectors: &mut Vec<Selector>) -> Result<Node, ExprError> {
    match expr {
        Expr::NumberLiteral(number) => Ok(Node::Number(number.val)),
        Expr::StringLiteral(text) => Ok(Node::Text(text.val.clone())),
        Expr::Paren(inner) => lower(&inner.expr, selectors),
        Expr::Unary(inner) => Ok(Node::Negate(Box::new(lower(&inner.expr, selectors)?))),
        Expr::VectorSelector(vector) => Ok(Node::Instant(select(vector, LOOKBACK, selectors)?)),
        Expr::MatrixSelector(matrix) => Ok(Node::Range(select(&matrix.vs, matrix.range, selectors)?)),
        Expr::Call(call) => lower_call(call, selectors),
        Expr::Aggregate(aggregate) => lower_aggregate(aggregate, selectors),
        Expr::Binary(binary) => lower_binary(binary, selectors),
        Expr::Subquery(_) => unsupported("a subquery"),
        Expr::Extension(_) => unsupported("an extension"),
    }
}

fn select(
    vector: &VectorSelector,
    range: Duration,
    selectors: &mut Vec<Selector>,
) -> Result<usize, ExprError> {
    if vector.at.is_some() {
        return unsupported("the @ modifier");
    }
    if !vector.matchers.or_matchers.is_empty() {
        return unsupported("`or` between label matchers");
    }
    let offset = match &vector.offset {
        None => 0,
        Some(Offset::Pos(back)) => back.as_millis() as i64,
        Some(Offset::Neg(ahead)) => -(ahead.as_millis() as i64),
    };
    selectors.push(Selector { matchers: vector.matchers.clone(), name: vector.name.clone(), offset, range });
    Ok(selectors.len() - 1)
}

fn lower_call(call: &Call, selectors: &mut Vec<Selector>) -> Result<Node, ExprError> {
    let name = call.func.name;
    if !PLAIN.contains(&name) && !RANGED.contains(&name) {
        return unsupported(format!("the function {name}()"));
    }
    let args = call.args.args.iter().map(|arg| lower(arg, selectors)).collect::<Result<Vec<_>, _>>()?;
    Ok(Node::Call(name, args))
}

fn lower_aggregate(aggregate: &AggregateExpr, selectors: &mut Vec<Selector>) -> Result<Node, ExprError> {
    let op = match aggregate.op.id() {
        token::T_SUM => "sum",
        token::T_AVG => "avg",
        token::T_MIN => "min",
        token::T_MAX => "max",
        token::T_COUNT => "count",
        token::T_GROUP => "group",
        token::T_STDDEV => "stddev",
        token::T_STDVAR => "stdvar",
        token::T_QUANTILE => "quantile",
        _ => return unsupported(format!("the aggregation {}", aggregate.op)),
    };
    let grouping = match &aggregate.modifier {
        None => Grouping::By(Vec::new()),
        Some(LabelModifier::Include(names)) => Grouping::By(names.labels.clone()),
        Some(LabelModifier::Exclude(names)) => Grouping::Without(names.labels.clone()),
    };
    let param = aggregate.param.as_ref().map(|param| lower(param, selectors)).transpose()?.map(Box::new);
    Ok(Node::Aggregate { op, grouping, param, of: Box::new(lower(&aggregate.expr, selectors)?) })
}

fn lower_binary(binary: &BinaryExpr, selectors: &mut Vec<Selector>) -> Result<Node, ExprError> {
    let op = match binary.op.id() {
        token::T_ADD => Op::Add,
        token::T_SUB => Op::Sub,
        token::T_MUL => Op::Mul,
        token::T_DIV => Op::Div,
        token::T_MOD => Op::Mod,
        token::T_POW => Op::Pow,
        token::T_EQLC => Op::Eq,
        token::T_NEQ => Op::Ne,
        token::T_LSS => Op::Lt,
        token::T_LTE => Op::Le,
        token::T_GTR => Op::Gt,
        token::T_GTE => Op::Ge,
        token::T_LAND => Op::And,
        token::T_LOR => Op::Or,
        token::T_LUNLESS => Op::Unless,
        _ => return unsupported(format!("the operator {}", binary.op)),
    };
    let matching = lower_matching(binary.modifier.as_ref());
    let left = Box::new(lower(&binary.lhs, selectors)?);
    let right = Box::new(lower(&binary.rhs, selectors)?);
    Ok(Node::Binary { op, as_bool: binary.return_bool(), matching, left, right })
}

fn lower_matching(modifier: Option<&BinModifier>) -> Matching {
    let names = |labels: &LabelNames| labels.labels.clone();
    let on = match modifier.and_then(|m| m.matching.as_ref()) {
        None => Grouping::Without(Vec::new()),
        Some(LabelModifier::Include(labels)) => Grouping::By(names(labels)),
        Some(LabelModifier::Exclude(labels)) => Grouping::Without(names(labels)),
    };
    let card = match modifier.map(|m| &m.card) {
        None | Some(VectorMatchCardinality::OneToOne) => Card::OneToOne,
        Some(VectorMatchCardinality::ManyToOne(labels)) => Card::ManyToOne(names(labels)),
        Some(VectorMatchCardinality::OneToMany(labels)) => Card::OneToMany(names(labels)),
        Some(VectorMatchCardinality::ManyToMany) => Card::ManyToMany,
    };
    Matching { on, card }
}
