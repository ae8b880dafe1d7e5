//! `alert test` and `routes test`.

use std::path::Path;

use super::{Failed, OfAlert, OfRoutes, listen, output, runtime};
use crate::app;
use crate::config::Sources;
use crate::detect::verdict::Severity;
use crate::hostmetrics::{self, Root};
use crate::notify::receivers::Native;
use crate::series::Labels;

/// Sends one alert by the real path and prints where it went.
pub(super) fn alert(what: &OfAlert) -> Result<(), Failed> {
    let OfAlert::Test { severity, native, config_file, instance, external_url } = what;
    let severity = Severity::ALL.into_iter().find(|known| known.name() == severity).ok_or_else(|| {
        Failed::Asked(format!("--severity: {severity:?} is none of info, warning, critical"))
    })?;
    let sources = Sources {
        file: config_file.clone(),
        environment: std::env::vars().collect(),
        quick_start: config_file.is_none(),
    };
    let config = sources.load().map_err(|problems| Failed::Asked(problems.to_string()))?;
    let own_name = hostmetrics::host_name(&Root::default()).unwrap_or_else(|| "localhost".to_owned());
    let host = instance.clone().unwrap_or_else(|| own_name.clone());
    let own_url = || Ok(format!("http://{own_name}:10091"));
    let url = external_url.as_deref().map_or_else(own_url, listen::external)?;
    if *native && !config.alert.has_channels() {
        output::note(format_args!(
            "--native: no native channel is enabled; set alert.slack_enabled or another"
        ));
    }
    let sent = app::test_alert(&config, &host, &url, severity, *native);
    let trials = runtime()?.block_on(sent).map_err(Failed::Running)?;
    let mut failed = 0;
    for trial in &trials {
        match &trial.outcome {
            Ok(answer) => output::say(format_args!("{}: {answer}", trial.to))?,
            Err(error) => {
                failed += 1;
                output::say(format_args!("{}: failed: {error}", trial.to))?;
            }
        }
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(Failed::Running(format!("{failed} of {} did not take it", trials.len())))
    }
}

/// Prints the receivers that native routing picks.
pub(super) fn routes(what: &OfRoutes) -> Result<(), Failed> {
    let OfRoutes::Test { config_file, verbose, labels } = what;
    let native =
        Native::read(Path::new(config_file)).map_err(|problems| Failed::Asked(problems.join("\n")))?;
    let labels = Labels::new(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let (receivers, trace) = native.route.explain(&labels);
    if *verbose {
        for (depth, route, matches) in trace {
            let mark = if matches { "matches" } else { "does not match" };
            output::note(format_args!("{}{route}: {mark}", "  ".repeat(depth)));
        }
    }
    output::say(receivers.join(","))
}
