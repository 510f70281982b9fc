//! What a backtest found, for people and for programs.

use std::fmt::Write;

use serde::Serialize;

use super::{Calls, Window};

/// Most lines of a table that are printed for people; JSON has all of them.
const TABLE_ROWS_SHOWN: usize = 40;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The time that was replayed.
    pub window: Window,
    /// Lines of the journal that are none, and decisions whose answer does not fit their question.
    pub damaged: u64,
    /// Lines that the node left out within the time.
    pub omitted: u64,
    /// How it answered.
    pub calls: Calls,
    /// What would have come of it.
    pub sections: Vec<Section>,
}

/// What is compared under one rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Section {
    /// For programs.
    pub key: &'static str,
    /// For people.
    pub title: &'static str,
    /// What is taken to be so.
    pub rule: &'static str,
    /// Figures.
    pub rows: Vec<Row>,
    /// Lists.
    pub tables: Vec<Table>,
}

/// One figure: what really happened, what the policy would have done, what the built-in default would.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// For programs; the unit is its last word.
    pub key: &'static str,
    /// For people.
    pub what: &'static str,
    /// By the answers that counted.
    pub recorded: Value,
    /// By the policy that is tried.
    pub plugin: Value,
    /// By the built-in default.
    pub default: Value,
}

impl Row {
    /// A figure of each of the three.
    pub fn new(key: &'static str, what: &'static str, values: [Value; 3]) -> Self {
        let [recorded, plugin, default] = values;
        Self { key, what, recorded, plugin, default }
    }
}

/// A list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// For programs.
    pub key: &'static str,
    /// For people.
    pub title: &'static str,
    /// Names of the columns.
    pub columns: Vec<&'static str>,
    /// Lines.
    pub rows: Vec<Vec<Value>>,
}

/// A figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// There is none.
    None,
    /// Whole.
    Whole(u64),
    /// Rounded to three decimals.
    Real(f64),
    /// A probability, rounded to three digits.
    Chance(f64),
    /// A word.
    Text(String),
}

impl Value {
    /// A mean, if there is one.
    pub fn real(value: Option<f64>) -> Self {
        value.map_or(Self::None, |value| Self::Real((value * 1000.0).round() / 1000.0))
    }

    /// A probability, if there is one.
    pub fn chance(value: Option<f64>) -> Self {
        let rounded = |value: f64| format!("{value:.2e}").parse().unwrap_or(value);
        value.map_or(Self::None, |value| Self::Chance(rounded(value)))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<Option<u64>> for Value {
    fn from(value: Option<u64>) -> Self {
        value.map_or(Self::None, Self::Whole)
    }
}

impl From<u128> for Value {
    fn from(value: u128) -> Self {
        Self::Whole(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Whole(u64::MAX) => f.write_str("any"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value:.1}"),
            Self::Chance(value) => write!(f, "{value:.2e}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Report {
    /// The report in lines for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        let Calls { questions, partial, refused, faults, .. } = self.calls;
        let time = |seconds| crate::clock::utc(seconds);
        let from = match self.window.from {
            0 => "the beginning".to_owned(),
            from => time(from),
        };
        writeln!(to, "from {from} to {} (UTC): {questions} questions", time(self.window.to))?;
        let then = self.calls.decided_then.iter().map(|(who, count)| format!("{who} {count}"));
        let then: Vec<String> = then.collect();
        if !then.is_empty() {
            writeln!(to, "decided then: {}", then.join(", "))?;
        }
        if partial > 0 {
            writeln!(to, "{partial} of them are partial: the journal keeps 256 candidates of each")?;
        }
        if self.omitted > 0 {
            writeln!(to, "{} lines were not kept, because there were too many at a time", self.omitted)?;
        }
        if self.damaged > 0 {
            writeln!(to, "{} lines of the journal are damaged and were passed over", self.damaged)?;
        }
        let fuel =
            format!("fuel per call {} (median), {} (most)", self.calls.fuel_median, self.calls.fuel_max);
        writeln!(to, "{faults} faults, {refused} answers refused; {fuel}")?;
        if let (Some(median), Some(max)) = (self.calls.time_median_us, self.calls.time_max_us) {
            writeln!(to, "time per call {median:.1} us (median), {max:.1} us (most)")?;
        }
        for (reason, count) in &self.calls.reasons {
            writeln!(to, "  {count} x {reason}")?;
        }
        for section in &self.sections {
            section.write(to)?;
        }
        Ok(())
    }
}

impl Section {
    fn write(&self, to: &mut String) -> std::fmt::Result {
        writeln!(to)?;
        let shown: Vec<[String; 4]> = self
            .rows
            .iter()
            .map(|row| {
                [
                    row.what.to_owned(),
                    row.recorded.to_string(),
                    row.plugin.to_string(),
                    row.default.to_string(),
                ]
            })
            .collect();
        let head = [self.title, "recorded", "plugin", "default"].map(str::to_owned);
        write_columns(
            to,
            &[&[head.to_vec()], &shown.iter().map(|it| it.to_vec()).collect::<Vec<_>>()[..]].concat(),
            1,
        )?;
        for table in self.tables.iter().filter(|table| !table.rows.is_empty()) {
            writeln!(to, "  {}", table.title)?;
            let head: Vec<String> = table.columns.iter().map(|name| (*name).to_owned()).collect();
            let rows = table.rows.iter().take(TABLE_ROWS_SHOWN);
            let rows: Vec<Vec<String>> = rows.map(|row| row.iter().map(Value::to_string).collect()).collect();
            write_columns(to, &[&[head], &rows[..]].concat(), 2)?;
            let more = table.rows.len().saturating_sub(TABLE_ROWS_SHOWN);
            if more > 0 {
                writeln!(to, "    {more} more: --json has all of them")?;
            }
        }
        writeln!(to, "  {}", self.rule)
    }
}

/// The first column to the left, the others to the right.
fn write_columns(to: &mut String, rows: &[Vec<String>], indent: usize) -> std::fmt::Result {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (number, row) in rows.iter().enumerate() {
        let mut line = " ".repeat(if number == 0 { 2 * (indent - 1) } else { 2 * indent });
        for (at, cell) in row.iter().enumerate() {
            // The head is indented less.
            let wide = widths[at] + if number == 0 && at == 0 { 2 } else { 0 };
            match at {
                0 => write!(line, "{cell:<wide$}")?,
                _ => write!(line, "  {cell:>wide$}")?,
            }
        }
        writeln!(to, "{}", line.trim_end())?;
    }
    Ok(())
}
