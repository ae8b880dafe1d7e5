//! From PromQL text to a plan of what is supported.

use std::time::{Duration, UNIX_EPOCH};

use promql_parser::label::Labels as LabelNames;
use promql_parser::parser::{
    self, AggregateExpr, AtModifier, BinModifier, BinaryExpr, Call, Expr, LabelModifier, Offset,
    SubqueryExpr, VectorMatchCardinality, VectorSelector, token,
};

use super::absent;
use super::aggregate::Aggregator;
use super::bounds::{self, LONGEST_CHAIN};
use super::function::{self, Function};
use super::memo::{Making, NAMELESS};
use super::plan::{Card, ExprError, Grouping, Macros, Matching, Node, Op, Plan, Subquery};
use super::relabel::{Relabel, label_name};
use super::selector::{Back, From, Matcher, Selector};
use crate::series::Timestamp;
use crate::setting::pattern::{Budget, TooLarge};

/// Step of a subquery that names none: Prometheus' default evaluation interval.
const STEP: Duration = Duration::from_mins(1);
/// Evaluations that subqueries may ask for at one instant, those around one another multiplied.
const MOST_STEPS: i64 = 11_000;

/// Reads `expr`, with macros replaced first.
pub(super) fn plan(expr: &str, macros: &Macros, budget: &mut Budget) -> Result<Plan, ExprError> {
    let parsed = syntax(&macros.replaced(expr), budget)?;
    let mut lowering = Lowering {
        selectors: Vec::new(),
        making: NAMELESS,
        depth: 0,
        behind: 0,
        steps: 1,
        evaluations: 0,
        has_fixed: false,
        budget,
    };
    let root = lowering.node(&parsed).map_err(|refusal| match refusal {
        Refusal::TooLongAChain => ExprError::TooLongAChain,
        Refusal::PatternTooLarge(pattern) => pattern.into(),
        Refusal::Unsupported { what, word } => {
            ExprError::Unsupported { what, at: bounds::position(expr, word) }
        }
    })?;
    let fixed = lowering.has_fixed.then(|| bounds::position(expr, "@").unwrap_or_default());
    Ok(Plan { root, evaluations: lowering.evaluations, selectors: lowering.selectors, fixed })
}

/// The tree of an expression within the bounds.
pub(super) fn syntax(expr: &str, budget: &mut Budget) -> Result<Expr, ExprError> {
    function::teach_parser();
    bounds::check(expr)?;
    // The parser compiles them as it meets them.
    bounds::patterns(expr).iter().try_for_each(|pattern| budget.spend(pattern))?;
    // The parser makes durations of numbers, and panics at one that is none, as in `offset 1e308`.
    std::panic::catch_unwind(|| parser::parse(expr))
        .unwrap_or_else(|_| Err("a number is no length of time; give one such as 5m".to_owned()))
        .map_err(|error| ExprError::Syntax(error.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// What is not taken, and the word that shows where it stands.
enum Refusal {
    TooLongAChain,
    PatternTooLarge(TooLarge),
    Unsupported { what: String, word: &'static str },
}

type Lowered<T> = Result<T, Refusal>;

fn unsupported<T>(what: impl Into<String>, word: &'static str) -> Lowered<T> {
    Err(Refusal::Unsupported { what: what.into(), word })
}

struct Lowering<'a> {
    selectors: Vec<Selector>,
    making: Making,
    depth: usize,
    /// Milliseconds that the subqueries around go back.
    behind: i64,
    /// Evaluations that they ask for.
    steps: i64,
    /// Nodes so far, each as often as it is evaluated.
    evaluations: u64,
    has_fixed: bool,
    budget: &'a mut Budget,
}

impl Lowering<'_> {
    fn node(&mut self, expr: &Expr) -> Lowered<Node> {
        self.depth += 1;
        self.evaluations = self.evaluations.saturating_add(self.steps.unsigned_abs());
        if self.depth > LONGEST_CHAIN {
            return Err(Refusal::TooLongAChain);
        }
        let node = match expr {
            Expr::NumberLiteral(number) => Node::Number(number.val),
            Expr::StringLiteral(text) => Node::Text(text.val.clone()),
            Expr::Paren(inner) => self.node(&inner.expr)?,
            Expr::Unary(inner) => Node::Negate(self.boxed(&inner.expr)?),
            Expr::VectorSelector(vector) => Node::Instant(self.select(vector, None)?),
            Expr::MatrixSelector(matrix) => Node::Range(self.select(&matrix.vs, Some(matrix.range))?),
            Expr::Call(call) => self.call(call)?,
            Expr::Aggregate(aggregate) => self.aggregate(aggregate)?,
            Expr::Binary(binary) => self.binary(binary)?,
            Expr::Subquery(subquery) => self.subquery(subquery)?,
            Expr::Extension(_) => return unsupported("an extension", "("),
        };
        self.depth -= 1;
        Ok(node)
    }

    fn boxed(&mut self, expr: &Expr) -> Lowered<Box<Node>> {
        self.node(expr).map(Box::new)
    }

    fn next_making(&mut self) -> Making {
        self.making += 1;
        self.making
    }

    fn select(&mut self, vector: &VectorSelector, range: Option<Duration>) -> Lowered<usize> {
        if !vector.matchers.or_matchers.is_empty() {
            return unsupported("`or` between label matchers", "or");
        }
        let matchers = vector.matchers.matchers.iter().map(Matcher::of).collect::<Result<_, _>>();
        let matchers = matchers.or_else(|what| unsupported(what, "{"))?;
        let back = self.back(vector.at.as_ref(), vector.offset.as_ref());
        let mut selector = Selector::new(vector.name.clone(), matchers);
        (selector.back, selector.behind) = (back, self.behind);
        selector.steps = self.steps.unsigned_abs();
        if let Some(range) = range {
            (selector.range, selector.is_instant) = (range, false);
        }
        self.selectors.push(selector);
        Ok(self.selectors.len() - 1)
    }

    fn back(&mut self, at: Option<&AtModifier>, offset: Option<&Offset>) -> Back {
        let millis = |by: &Duration| i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 4);
        let from = match at {
            None => From::Step,
            Some(AtModifier::Start | AtModifier::End) => From::Whole,
            Some(AtModifier::At(time)) => {
                self.has_fixed = true;
                let (after, before) = (time.duration_since(UNIX_EPOCH), UNIX_EPOCH.duration_since(*time));
                let since = after.map_or_else(|_| -before.map_or(0, |d| millis(&d)), |d| millis(&d));
                From::Fixed(Timestamp::from_millis(since))
            }
        };
        let offset = match offset {
            None => 0,
            Some(Offset::Pos(back)) => millis(back),
            Some(Offset::Neg(ahead)) => -millis(ahead),
        };
        Back { from, offset }
    }

    fn subquery(&mut self, subquery: &SubqueryExpr) -> Lowered<Node> {
        let range = subquery.range.as_millis() as i64;
        let step = (subquery.step.unwrap_or(STEP).as_millis() as i64).max(1);
        let steps = self.steps.saturating_mul(range / step + 1);
        if steps > MOST_STEPS {
            return unsupported(format!("a subquery of {steps} steps (at most {MOST_STEPS} are taken)"), "[");
        }
        let back = self.back(subquery.at.as_ref(), subquery.offset.as_ref());
        let around = (self.behind, self.steps);
        (self.behind, self.steps) = (self.behind.saturating_add(range).saturating_add(back.offset), steps);
        let of = self.node(&subquery.expr)?;
        (self.behind, self.steps) = around;
        Ok(Node::Subquery(Box::new(Subquery { of, range, step, back })))
    }

    fn call(&mut self, call: &Call) -> Lowered<Node> {
        let (name, args) = (call.func.name, &call.args.args);
        let mut lowered = args.iter().map(|arg| self.node(arg)).collect::<Lowered<Vec<_>>>()?;
        let function = match name {
            "pi" => return Ok(Node::Number(std::f64::consts::PI)),
            "absent" | "absent_over_time" => Function::Absent(absent::labels(&lowered[0], &self.selectors)),
            "label_replace" | "label_join" => {
                let texts = lowered.split_off(1);
                if let ("label_replace", Some(Node::Text(pattern))) = (name, texts.last()) {
                    self.budget.spend(pattern).map_err(Refusal::PatternTooLarge)?;
                }
                let relabel =
                    relabel(name, &texts).or_else(|what| unsupported(format!("{what} in {name}()"), name))?;
                Function::Relabel(relabel.into())
            }
            _ => match function::named(name) {
                Some(function) => function,
                None => return unsupported(format!("the function {name}()"), name),
            },
        };
        Ok(Node::Call(function, lowered))
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr) -> Lowered<Node> {
        let mut grouping = self.grouping(aggregate.modifier.as_ref(), true);
        let mut param = aggregate.param.as_ref().map(|param| self.boxed(param)).transpose()?;
        let how = match aggregate.op.id() {
            token::T_SUM => Aggregator::Sum,
            token::T_AVG => Aggregator::Average,
            token::T_MIN => Aggregator::Least,
            token::T_MAX => Aggregator::Most,
            token::T_COUNT => Aggregator::Count,
            token::T_GROUP => Aggregator::Group,
            token::T_STDDEV => Aggregator::Deviation,
            token::T_STDVAR => Aggregator::Variance,
            token::T_QUANTILE => Aggregator::Quantile,
            token::T_TOPK => Aggregator::Top,
            token::T_BOTTOMK => Aggregator::Bottom,
            token::T_COUNT_VALUES => {
                let label = match param.take().as_deref() {
                    Some(Node::Text(label)) => label_name(label),
                    _ => Err("a label that is no string".to_owned()),
                };
                let label = label.or_else(|what| unsupported(what, "count_values"))?;
                if grouping.by {
                    grouping.names.push(label.clone());
                }
                Aggregator::CountValues(label)
            }
            id => {
                let name = if id == token::T_LIMITK { "limitk" } else { "limit_ratio" };
                return unsupported(format!("the aggregation {}", aggregate.op), name);
            }
        };
        Ok(Node::Aggregate { how, grouping, param, of: self.boxed(&aggregate.expr)? })
    }

    /// Nothing said means no label at all, or `by` being false, every label.
    fn grouping(&mut self, modifier: Option<&LabelModifier>, by: bool) -> Grouping {
        let making = self.next_making();
        match modifier {
            None => Grouping { by, names: Vec::new(), making },
            Some(LabelModifier::Include(names)) => Grouping { by: true, names: names.labels.clone(), making },
            Some(LabelModifier::Exclude(names)) => {
                Grouping { by: false, names: names.labels.clone(), making }
            }
        }
    }

    fn binary(&mut self, binary: &BinaryExpr) -> Lowered<Node> {
        let Some(op) = operator(binary.op.id()) else {
            return unsupported(format!("the operator {}", binary.op), "");
        };
        if binary
            .modifier
            .as_ref()
            .is_some_and(|m| m.fill_values.lhs.is_some() || m.fill_values.rhs.is_some())
        {
            return unsupported("fill between vectors", "fill");
        }
        let matching = self.matching(binary.modifier.as_ref());
        let left = self.boxed(&binary.lhs)?;
        let right = self.boxed(&binary.rhs)?;
        Ok(Node::Binary { op, as_bool: binary.return_bool(), matching, left, right })
    }

    fn matching(&mut self, modifier: Option<&BinModifier>) -> Matching {
        let names = |labels: &LabelNames| labels.labels.clone();
        let card = match modifier.map(|m| &m.card) {
            None | Some(VectorMatchCardinality::OneToOne) => Card::OneToOne,
            Some(VectorMatchCardinality::ManyToOne(labels)) => Card::ManyToOne(names(labels)),
            Some(VectorMatchCardinality::OneToMany(labels)) => Card::OneToMany(names(labels)),
            Some(VectorMatchCardinality::ManyToMany) => Card::ManyToMany,
        };
        let on = self.grouping(modifier.and_then(|m| m.matching.as_ref()), false);
        Matching { on, card, making: self.next_making() }
    }
}

fn relabel(name: &str, texts: &[Node]) -> Result<Relabel, String> {
    let text = |node: &Node| match node {
        Node::Text(text) => Ok(text.clone()),
        _ => Err("an argument that is no string".to_owned()),
    };
    let texts = texts.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    match (name, texts.as_slice()) {
        ("label_replace", [to, template, from, pattern]) => Relabel::replace([to, template, from, pattern]),
        ("label_join", [to, separator, from @ ..]) => Relabel::join(to, separator, from),
        _ => Err("another number of arguments".to_owned()),
    }
}

fn operator(id: token::TokenId) -> Option<Op> {
    Some(match id {
        token::T_ADD => Op::Add,
        token::T_SUB => Op::Sub,
        token::T_MUL => Op::Mul,
        token::T_DIV => Op::Div,
        token::T_MOD => Op::Mod,
        token::T_POW => Op::Pow,
        token::T_ATAN2 => Op::Atan2,
        token::T_EQLC => Op::Eq,
        token::T_NEQ => Op::Ne,
        token::T_LSS => Op::Lt,
        token::T_LTE => Op::Le,
        token::T_GTR => Op::Gt,
        token::T_GTE => Op::Ge,
        token::T_LAND => Op::And,
        token::T_LOR => Op::Or,
        token::T_LUNLESS => Op::Unless,
        _ => return None,
    })
}
