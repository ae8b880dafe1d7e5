//! The sections `incident` and `severity`.

use serde::{Deserialize, Deserializer, Serialize};

use super::machine::Persistence;
use crate::detect::verdict::{Assessment, Severity};
use crate::setting::{Ratio, Span};

/// When an incident opens and ends; in checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentSettings)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Checks over the threshold that open one.
    pub r#for: u32,
    /// Checks under it that close one.
    pub clear_after: u32,
    /// How long a vanished signal is held.
    pub hold_no_data: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self { r#for: 3, clear_after: 5, hold_no_data: Span::seconds(300) }
    }
}

impl Config {
    /// The same as a rule.
    pub fn persistence(&self) -> Persistence {
        Persistence {
            open_after: self.r#for,
            clear_after: self.clear_after,
            hold_no_data: self.hold_no_data.0,
        }
    }
}

/// From when on an anomaly is more than worth a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Severities {
    /// At or above both: warning.
    #[serde(deserialize_with = "warning")]
    pub warning: Bar,
    /// Above both: critical.
    #[serde(deserialize_with = "critical")]
    pub critical: Bar,
}

/// What it takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bar {
    /// Confidence of the verdict.
    #[schema(required = false)]
    pub confidence: Ratio,
    /// Deviation in sigmas.
    #[schema(required = false)]
    pub sigma: f64,
}

/// A bar as it is written: what is left out is as by default.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    confidence: Option<Ratio>,
    sigma: Option<f64>,
}

impl Written {
    fn over(self, bar: Bar) -> Bar {
        Bar { confidence: self.confidence.unwrap_or(bar.confidence), sigma: self.sigma.unwrap_or(bar.sigma) }
    }
}

fn warning<'de, D: Deserializer<'de>>(from: D) -> Result<Bar, D::Error> {
    Ok(Written::deserialize(from)?.over(Severities::default().warning))
}

fn critical<'de, D: Deserializer<'de>>(from: D) -> Result<Bar, D::Error> {
    Ok(Written::deserialize(from)?.over(Severities::default().critical))
}

impl Default for Severities {
    fn default() -> Self {
        let bar = |confidence, sigma| Bar {
            confidence: Ratio::new(confidence).unwrap_or_else(|| unreachable!("a default between 0 and 1")),
            sigma,
        };
        Self { warning: bar(0.7, 3.0), critical: bar(0.9, 5.0) }
    }
}

impl Severities {
    /// How bad a verdict is.
    pub fn of(&self, assessment: &Assessment) -> Severity {
        let (confidence, sigma) = (assessment.confidence, assessment.deviation_sigma);
        if confidence > self.critical.confidence.get() && sigma > self.critical.sigma {
            Severity::Critical
        } else if confidence >= self.warning.confidence.get() && sigma >= self.warning.sigma {
            Severity::Warning
        } else {
            Severity::Info
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_is_above_its_bar_and_warning_at_or_above() {
        for (confidence, deviation_sigma, severity) in [
            (0.91, 5.1, Severity::Critical),
            (0.9, 38.0, Severity::Warning),
            (1.0, 5.0, Severity::Warning),
            (0.7, 3.0, Severity::Warning),
            (0.69, 38.0, Severity::Info),
            (1.0, 2.9, Severity::Info),
        ] {
            let assessment = Assessment { confidence, deviation_sigma, ..Assessment::default() };
            assert_eq!(Severities::default().of(&assessment), severity, "{confidence} {deviation_sigma}");
        }
    }
}
