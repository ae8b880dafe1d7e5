//! An expression for one target out of many.

use promql_parser::parser::{Expr, VectorSelector};

use super::lower::syntax;
use super::plan::{ExprError, Macros};
use crate::setting::pattern::Budget;

/// `expr` with macros replaced, and every selector asking for `labels` as well: what a target's signal is called where
/// series of many targets are kept.
pub fn narrowed(expr: &str, macros: &Macros, labels: &[(String, String)]) -> Result<String, ExprError> {
    let mut parsed = syntax(&macros.replaced(expr), &mut Budget::default())?;
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
