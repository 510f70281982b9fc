//! Turns, medians and tables.
//!
//! Invariant: in each round every contestant has one turn, in an order that rotates from round to
//! round, so that none always follows the same one.

/// One of those that are compared.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    /// One turn; answers a rate, of which more is better.
    pub(crate) turn: Box<dyn Fn() -> f64 + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: impl Into<String>, turn: impl Fn() -> f64 + 'a) -> Self {
        Self { name: name.into(), turn: Box::new(turn) }
    }
}

/// What a contestant's turns came to.
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// By round.
    rates: Vec<f64>,
}

/// The one in the middle; of an even number the lower of two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

impl Outcome {
    pub(crate) fn median(&self) -> f64 {
        median(self.rates.clone())
    }

    /// The median of the ratios within each round. The load of a shared machine changes from round
    /// to round more than within one.
    pub(crate) fn paired_ratio(&self, to: &Self) -> f64 {
        median(self.rates.iter().zip(&to.rates).map(|(mine, other)| mine / other).collect())
    }

    fn least(&self) -> f64 {
        self.rates.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn most(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }
}

/// Gives everybody `rounds` turns.
pub(crate) fn take_turns(rounds: usize, contestants: &[Contestant<'_>]) -> Vec<Outcome> {
    let mut rates = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in 0..rounds {
        for step in 0..contestants.len() {
            let who = (round + step) % contestants.len();
            rates[who].push((contestants[who].turn)());
        }
    }
    let named = contestants.iter().zip(rates);
    named.map(|(contestant, rates)| Outcome { name: contestant.name.clone(), rates }).collect()
}

/// Prints the outcomes, each with two ratios to the first one: of the medians, and within rounds.
pub(crate) fn print(unit: &str, outcomes: &[Outcome]) {
    let Some(first) = outcomes.first() else { return };
    let width = outcomes.iter().map(|outcome| outcome.name.chars().count()).max().unwrap_or(0);
    println!("{:width$}  {:>10}  {:>19}  ratio  paired", "", unit, "least..most");
    for outcome in outcomes {
        let range = format!("{:.0}..{:.0}", outcome.least(), outcome.most());
        let (ratio, paired) = (outcome.median() / first.median(), outcome.paired_ratio(first));
        println!(
            "{:width$}  {:>10.0}  {range:>19}  {ratio:>5.2}  {paired:>6.2}",
            outcome.name,
            outcome.median()
        );
    }
}

/// Prints what was aimed at beside what was reached.
pub(crate) fn print_target(what: &str, reached: f64, target: &str) {
    println!("-> {what}: {reached:.2} (target: {target})");
}
