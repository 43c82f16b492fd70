//! The governor: bandwidths of the server, its endpoints and sites, set where they are kept to.

use super::AssemblyError;
use crate::config::settings::{self, GovernorDirection, GovernorMethod, GovernorPolicy};
use crate::engine::{Bandwidth, Direction, EstimateBy, GovernorHandle, Policy, SCOPES_MAX, Scope};
use std::collections::BTreeMap;

/// A site with a bandwidth of its own.
#[derive(Clone, Debug)]
pub(crate) struct SiteScope {
    pub(crate) number: u16,
    #[cfg(feature = "console")]
    pub(crate) name: String,
    pub(crate) settings: settings::Governor,
}

/// The bandwidths of a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    figures: Vec<(Scope, Bandwidth)>,
    /// Places of endpoints that share the figure of another place: the addresses of one endpoint.
    alike: Vec<(usize, usize)>,
}

impl Wanted {
    pub(super) fn is_empty(&self) -> bool {
        self.figures.is_empty()
    }
}

/// Keeps to these bandwidths from now on, and to no others. Open connections go on under them.
pub(super) fn keep_to(governor: &GovernorHandle, wanted: &Wanted) -> Result<(), AssemblyError> {
    if governor.replace(&wanted.figures, &wanted.alike) {
        return Ok(());
    }
    Err(AssemblyError::new("cannot govern so many bandwidths", format_args!("there may be {SCOPES_MAX}")))
}

/// All bandwidths of a configuration. `endpoints` are the engine's places with the names and settings of endpoints.
pub(super) fn wanted<'a>(
    server: Option<&settings::Governor>,
    endpoints: impl Iterator<Item = (usize, &'a str, &'a settings::Governor)>,
    sites: &[SiteScope],
) -> Wanted {
    let mut wanted = Wanted::default();
    wanted.figures.extend(server.map(|settings| (Scope::Server, bandwidth(settings))));
    let mut first_places = BTreeMap::new();
    for (place, name, settings) in endpoints {
        let first = *first_places.entry(name).or_insert(place);
        if first == place {
            wanted.figures.push((Scope::Endpoint(place), bandwidth(settings)));
        } else {
            wanted.alike.push((place, first));
        }
    }
    wanted.figures.extend(sites.iter().map(|site| (Scope::Site(site.number), bandwidth(&site.settings))));
    wanted
}

fn bandwidth(settings: &settings::Governor) -> Bandwidth {
    Bandwidth {
        direction: match settings.direction {
            GovernorDirection::Sent => Direction::Sent,
            GovernorDirection::Received => Direction::Received,
            GovernorDirection::Both => Direction::Both,
        },
        policy: match settings.policy {
            GovernorPolicy::Full => Policy::Table,
            GovernorPolicy::Simple => Policy::Simple,
        },
        estimate: match settings.method {
            GovernorMethod::Histogram => EstimateBy::Histogram,
            GovernorMethod::Average => EstimateBy::RunningAverage,
        },
        reads_waiting_max: usize::try_from(settings.queue).unwrap_or(usize::MAX),
        read_wait_ms_max: settings.wait.ms(),
        ..Bandwidth::new(settings.rate.bytes())
    }
}

/// Numbers of sites as scopes: the same site keeps its own when the configuration is read again.
#[derive(Debug, Default)]
pub(super) struct ScopeNumbers(BTreeMap<String, u16>);

impl ScopeNumbers {
    /// The number of the site of that name, from 1 on.
    pub(super) fn of(&mut self, name: &str) -> Result<u16, AssemblyError> {
        let next = self.0.len() + 1;
        if let Some(number) = self.0.get(name) {
            return Ok(*number);
        }
        let too_many =
            |_| AssemblyError::new(format_args!("cannot govern site {name}"), "there are too many sites");
        let number = u16::try_from(next).map_err(too_many)?;
        self.0.insert(name.to_owned(), number);
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Span;

    #[test]
    fn the_addresses_of_one_endpoint_share_its_figure() {
        let settings = |rate: &str| settings::Governor {
            rate: rate.parse().expect("a rate"),
            direction: GovernorDirection::default(),
            policy: GovernorPolicy::default(),
            method: GovernorMethod::default(),
            queue: 100,
            wait: Span::from_secs(1),
        };
        let (web, other) = (settings("8 Mbit/s"), settings("16 Mbit/s"));
        let endpoints = [(0, "web", &web), (1, "other", &other), (2, "web", &web)];
        let site = SiteScope {
            number: 3,
            #[cfg(feature = "console")]
            name: "a".to_owned(),
            settings: settings("80 kbit/s"),
        };
        let wanted = wanted(Some(&settings("1 Gbit/s")), endpoints.into_iter(), &[site]);
        let figures: Vec<_> = wanted.figures.iter().map(|(scope, one)| (*scope, one.bytes_per_s)).collect();
        assert_eq!(
            figures,
            [
                (Scope::Server, 125_000_000),
                (Scope::Endpoint(0), 1_000_000),
                (Scope::Endpoint(1), 2_000_000),
                (Scope::Site(3), 10_000)
            ]
        );
        assert_eq!(wanted.alike, [(2, 0)]);
    }
}
