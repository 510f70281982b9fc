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
    /// Ascending.
    rates: Vec<f64>,
}

impl Outcome {
    pub(crate) fn new(name: impl Into<String>, mut rates: Vec<f64>) -> Self {
        rates.sort_by(f64::total_cmp);
        Self { name: name.into(), rates }
    }

    /// Of an even number of turns the lower one in the middle.
    pub(crate) fn median(&self) -> f64 {
        self.rates.get(self.rates.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
    }

    fn least(&self) -> f64 {
        self.rates.first().copied().unwrap_or(f64::NAN)
    }

    fn most(&self) -> f64 {
        self.rates.last().copied().unwrap_or(f64::NAN)
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
    named.map(|(contestant, rates)| Outcome::new(contestant.name.clone(), rates)).collect()
}

/// Prints the outcomes, each with the ratio of its median to the first one's.
pub(crate) fn print(unit: &str, outcomes: &[Outcome]) {
    let Some(first) = outcomes.first() else { return };
    let width = outcomes.iter().map(|outcome| outcome.name.chars().count()).max().unwrap_or(0);
    println!("{:width$}  {:>10}  {:>19}  ratio", "", unit, "least..most");
    for outcome in outcomes {
        let range = format!("{:.0}..{:.0}", outcome.least(), outcome.most());
        let ratio = outcome.median() / first.median();
        println!("{:width$}  {:>10.0}  {range:>19}  {ratio:>5.2}", outcome.name, outcome.median());
    }
}

/// Prints what was aimed at beside what was reached.
pub(crate) fn print_target(what: &str, reached: f64, target: &str) {
    println!("-> {what}: {reached:.2} (target: {target})");
}
