//! A node's metrics as OpenMetrics text (spec/metrics.md).
//!
//! Invariant: what is not in the table is not shown, neither a name nor the value of a label. Not here:
//! where the numbers come from (`api::watch`).

mod table;

use std::fmt;

use commonhold_gateway::RequestCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;

use self::table::{Kind, METRICS, Metric, find};

/// What each interface has answered.
#[derive(Debug, Clone, Default)]
pub struct Interfaces {
    /// The local API and the web app.
    pub api: Arc<RequestCounts>,
    /// S3.
    pub s3: Arc<RequestCounts>,
    /// Pages of links.
    pub gateway: Arc<RequestCounts>,
    /// The ledger for everybody.
    pub ledger: Arc<RequestCounts>,
    /// What watches the node, on an address of its own.
    pub metrics: Arc<RequestCounts>,
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Whole(u64),
    Signed(i64),
    Real(f64),
}

/// The metrics of a moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    samples: Vec<(&'static Metric, Vec<String>, Value)>,
}

impl Snapshot {
    /// A whole number. `values` are those of the metric's labels, in their order.
    pub fn whole(&mut self, name: &str, values: &[&str], value: u64) {
        self.add(name, values, Value::Whole(value));
    }

    /// A whole number that may be negative; beyond 64 bits it is the nearest that there is.
    pub fn signed(&mut self, name: &str, values: &[&str], value: i128) {
        let limit = if value < 0 { i64::MIN } else { i64::MAX };
        self.add(name, values, Value::Signed(i64::try_from(value).unwrap_or(limit)));
    }

    /// Any number.
    pub fn real(&mut self, name: &str, values: &[&str], value: f64) {
        self.add(name, values, Value::Real(value));
    }

    fn add(&mut self, name: &str, values: &[&str], value: Value) {
        let allowed = |metric: &&Metric| {
            metric.labels.len() == values.len()
                && metric
                    .labels
                    .iter()
                    .zip(values)
                    .all(|((_, all), value)| metric.kind == Kind::Info || all.contains(value))
        };
        let metric = find(name).filter(allowed);
        debug_assert!(metric.is_some(), "{name} {values:?} is not in the table");
        if let Some(metric) = metric {
            self.samples.push((metric, values.iter().map(ToString::to_string).collect(), value));
        }
    }

    /// As text.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn into_text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for metric in METRICS {
            let mut samples = self.samples.iter().filter(|(of, ..)| of.name == metric.name).peekable();
            if samples.peek().is_none() {
                continue;
            }
            let (kind, name) = match metric.kind {
                Kind::Counter => (MetricType::Counter, metric.name.trim_end_matches("_total")),
                Kind::Gauge => (MetricType::Gauge, metric.name),
                Kind::Info => (MetricType::Info, metric.name.trim_end_matches("_info")),
            };
            let help = match metric.unit {
                "" => metric.help.to_owned(),
                unit => format!("In {unit}: {}.", metric.help),
            };
            let mut family = encoder.encode_descriptor(name, &help, None, kind)?;
            for (_, values, value) in samples {
                let names = metric.labels.iter().map(|(name, _)| *name);
                let labels: Vec<(&str, &str)> = names.zip(values.iter().map(String::as_str)).collect();
                if metric.kind == Kind::Info {
                    family.encode_info(&labels)?;
                } else if labels.is_empty() {
                    write_number(metric.kind, *value, family)?;
                    break;
                } else {
                    write_number(metric.kind, *value, family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

fn write_number(kind: Kind, value: Value, to: MetricEncoder) -> Result<(), fmt::Error> {
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => ConstCounter::new(value).encode(to),
        (Kind::Counter, Value::Signed(value)) => ConstCounter::new(value.unsigned_abs()).encode(to),
        (Kind::Counter, Value::Real(value)) => ConstCounter::new(value).encode(to),
        (_, Value::Whole(value)) => ConstGauge::new(value).encode(to),
        (_, Value::Signed(value)) => ConstGauge::new(value).encode(to),
        (_, Value::Real(value)) => ConstGauge::new(value).encode(to),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../../../../spec/metrics.md");

    fn row(metric: &Metric) -> String {
        let label = |(name, values): &table::Label| match values.len() {
            0 => format!("`{name}`"),
            _ => format!("`{name}`: {}", values.join(", ")),
        };
        let labels: Vec<String> = metric.labels.iter().map(label).collect();
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Info => "info",
        };
        let name = metric.name;
        format!("| `{name}` | {kind} | {} | {} | {} |", metric.unit, labels.join("; "), metric.help)
    }

    #[test]
    fn the_page_and_the_table_say_the_same() {
        let rows: BTreeSet<String> = METRICS.iter().map(row).collect();
        let page: BTreeSet<String> =
            PAGE.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        let all: Vec<String> = METRICS.iter().map(row).collect();
        assert!(rows == page, "spec/metrics.md should have these rows:\n{}", all.join("\n"));
        let names: BTreeSet<&str> = METRICS.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.name.starts_with("commonhold_"));
        }
    }

    #[test]
    fn numbers_are_written_exactly_and_once() {
        let mut snapshot = Snapshot::default();
        snapshot.whole("commonhold_contracts", &["owner"], u64::MAX);
        snapshot.whole("commonhold_contracts", &["provider"], 2);
        snapshot.signed("commonhold_credit_microcredits", &["earned"], i128::MAX);
        snapshot.signed("commonhold_credit_microcredits", &["held"], -5);
        snapshot.real("commonhold_policy_seconds_total", &["pricing"], 0.000_001_5);
        snapshot.whole("commonhold_scrub_laps_total", &[], 7);
        snapshot.whole("commonhold_build_info", &["0.1.0 \"x\"\n"], 1);
        let text = snapshot.into_text().unwrap();
        for line in [
            "commonhold_contracts{role=\"owner\"} 18446744073709551615",
            "commonhold_contracts{role=\"provider\"} 2",
            "commonhold_credit_microcredits{amount=\"earned\"} 9223372036854775807",
            "commonhold_credit_microcredits{amount=\"held\"} -5",
            "commonhold_scrub_laps_total 7",
            "# TYPE commonhold_scrub_laps counter",
            "# TYPE commonhold_contracts gauge",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert!(text.contains("commonhold_policy_seconds_total{policy=\"pricing\"} 0.0000015"), "{text}");
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(text.matches("# TYPE commonhold_contracts ").count(), 1);
    }

    #[test]
    #[should_panic(expected = "is not in the table")]
    fn a_value_that_is_not_in_the_table_is_none() {
        Snapshot::default().whole("commonhold_contracts", &["/payslip.txt"], 1);
    }
}
