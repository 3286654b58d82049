//! Authorities that are trusted together: what a `ca.crt` or a `caBundle` holds.

use super::judge;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Authorities in the order they are written in, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Bundle(Vec<Authority>);

#[derive(Clone, Debug, PartialEq)]
struct Authority {
    pem: String,
    der: CertificateDer<'static>,
}

impl Bundle {
    /// The authorities that are valid now: API servers look at an authority's own dates too. What is no certificate
    /// is left out.
    pub(super) fn living(pem: &[u8], now: Timestamp) -> Self {
        let text = String::from_utf8_lossy(pem);
        let mut all = Self::default();
        for block in text.split_inclusive(END) {
            let Some(start) = block.find(BEGIN) else { continue };
            let Ok(der) = CertificateDer::from_pem_slice(block.as_bytes()) else { continue };
            let alive = X509Certificate::from_der(&der).is_ok_and(|(_, parsed)| {
                let validity = parsed.validity();
                (validity.not_before.timestamp()..validity.not_after.timestamp()).contains(&now.as_second())
            });
            if alive {
                let pem = format!("{}\n", &block[start..]);
                all = all.and(Self(vec![Authority { pem, der }]));
            }
        }
        all
    }

    /// These, and behind them those of `more` that are not among them.
    pub(super) fn and(mut self, more: Self) -> Self {
        for authority in more.0 {
            if !self.0.iter().any(|known| known.der == authority.der) {
                self.0.push(authority);
            }
        }
        self
    }

    /// What has to be trusted beside the next authority, until pods have read the next certificate: the authorities
    /// that vouch for the `served` one. When none does, it cannot be told which it was, and the first ones are kept.
    pub(super) fn kept(self, served: &[u8], name: &str, now: Timestamp, limit: usize) -> Self {
        let vouch = |authority: &&Authority| judge::vouched(served, [&authority.der], name, now).is_ok();
        let vouching: Vec<_> = self.0.iter().filter(vouch).cloned().collect();
        let mut kept = if vouching.is_empty() { self.0 } else { vouching };
        kept.truncate(limit);
        Self(kept)
    }

    /// No more than `most`, of which the first `sure` and the last ones stay.
    pub(super) fn bounded(mut self, sure: usize, most: usize) -> Self {
        while self.0.len() > most {
            self.0.remove(sure);
        }
        self
    }

    pub(super) fn pem(&self) -> String {
        self.0.iter().map(|authority| authority.pem.as_str()).collect()
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.0.iter().map(|authority| &authority.der)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::super::made::Made;
    use super::*;

    fn in_days(days: i64) -> Timestamp {
        Timestamp::from_second(Timestamp::now().as_second() + days * 86_400).unwrap()
    }

    #[test]
    fn ended_future_doubled_and_broken_authorities_are_dropped() {
        let [a, b, c] = [10, 20, 30].map(|days| Made::new("hook.ns.svc", days).unwrap().authority);
        let bundle = format!("{a}# mine\n{b}{c}{b}{BEGIN}\n!\n{END}\nend");
        let living = |days| Bundle::living(bundle.as_bytes(), in_days(days)).pem();
        assert_eq!(living(0), format!("{a}{b}{c}"));
        assert_eq!(living(15), format!("{b}{c}"));
        assert_eq!(living(-1), "");
        assert_eq!(Bundle::living(b"", in_days(0)).pem(), "");
    }

    #[test]
    fn the_authority_of_what_is_served_is_kept_wherever_it_stands() {
        let made = [(); 4].map(|()| Made::new("hook.ns.svc", 10).unwrap());
        let all: String = made.iter().map(|made| made.authority.as_str()).collect();
        let kept = |served: &str| {
            let bundle = Bundle::living(all.as_bytes(), in_days(0));
            bundle.kept(served.as_bytes(), "hook.ns.svc", in_days(0), 2).pem()
        };
        assert_eq!(kept(&made[3].certificate), made[3].authority);
        assert_eq!(kept(""), format!("{}{}", made[0].authority, made[1].authority));
    }

    #[test]
    fn a_full_bundle_loses_from_its_middle() {
        let [a, b, c, d] = [(); 4].map(|()| Made::new("hook.ns.svc", 10).unwrap().authority);
        let bundle = Bundle::living(format!("{a}{b}{c}{d}").as_bytes(), in_days(0));
        assert_eq!(bundle.clone().bounded(1, 3).pem(), format!("{a}{c}{d}"));
        assert_eq!(bundle.clone().bounded(1, 4).pem(), bundle.pem());
    }
}
