//! What has to be there before the first act: requirements, third-party parts, our own programs.

use crate::tools::Lines;
use crate::ui;
use boathouse_testkit::parts::Parts;
use boathouse_testkit::programs::{Profile, Programs};
use boathouse_testkit::requirement::{self, Missing};
use std::time::Instant;

/// Everything that is executed.
pub(super) struct Prepared {
    pub(super) parts: Parts,
    pub(super) programs: Programs,
}

/// All that is missing, in one error. Go and Python are asked for only when a part must be built.
pub(super) fn requirements() -> Result<(), Missing> {
    let mut missing = Vec::new();
    let mut note = |checked: Result<(), Missing>| {
        if let Err(Missing(some)) = checked {
            missing.extend(some);
        }
    };
    note(requirement::for_mounting());
    if Parts::locate().is_err()
        && let Some(cache) = boathouse_testkit::cache_directory()
    {
        note(requirement::for_building(&cache, true, true, requirement::FREE));
    }
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

pub(super) fn programs() -> anyhow::Result<Prepared> {
    eprintln!("{}", ui::bold("Third-party programs"));
    let parts = Parts::obtain(&mut Lines::new())?;
    eprintln!("{}", ui::bold("Our programs, as shipped"));
    let began = Instant::now();
    let programs = Programs::build(Profile::Release)?;
    eprintln!("  built        {} {}", ui::green("ready"), ui::seconds(began.elapsed()));
    Ok(Prepared { parts, programs })
}
