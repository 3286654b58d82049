//! What the demonstration says is true, and whether it was.

use std::time::Duration;

/// One statement, measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) holds: bool,
    pub(super) text: String,
}

/// The claims of one act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Act {
    pub(super) title: String,
    pub(super) took: Duration,
    pub(super) claims: Vec<Claim>,
}

/// Records every claim under the act it was made in.
#[derive(Debug, Default)]
pub(super) struct Claims {
    acts: Vec<Act>,
}

impl Claims {
    /// Begins an act; later claims belong to it.
    pub(super) fn begin(&mut self, title: &str) {
        self.acts.push(Act { title: title.to_owned(), took: Duration::ZERO, claims: Vec::new() });
    }

    /// Notes a claim.
    pub(super) fn note(&mut self, holds: bool, text: &str) {
        if self.acts.is_empty() {
            self.begin("Beginning");
        }
        if let Some(act) = self.acts.last_mut() {
            act.claims.push(Claim { holds, text: text.to_owned() });
        }
    }

    /// Says how long the present act took.
    pub(super) fn took(&mut self, took: Duration) {
        if let Some(act) = self.acts.last_mut() {
            act.took = took;
        }
    }

    pub(super) fn acts(&self) -> &[Act] {
        &self.acts
    }

    /// How many there are, and which do not hold.
    pub(super) fn verdict(&self) -> (usize, Vec<&Claim>) {
        let all = self.acts.iter().flat_map(|act| &act.claims);
        (all.clone().count(), all.filter(|claim| !claim.holds).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_false_claim_is_found_again() {
        let mut claims = Claims::default();
        claims.begin("one");
        claims.note(true, "water is wet");
        claims.begin("two");
        claims.note(false, "fire is cold");
        let (count, broken) = claims.verdict();
        assert_eq!(count, 2);
        assert_eq!(broken, [&Claim { holds: false, text: "fire is cold".to_owned() }]);
        assert_eq!(claims.acts()[1].claims.len(), 1);
    }
}
