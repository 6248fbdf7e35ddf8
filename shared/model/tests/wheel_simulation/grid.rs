//! What the grid's steps cost.

use std::time::Duration;

use mm_model::wheel;

/// Thousandths of the longest possible period that the grid gives away for tokens of this life, rounded up.
fn loss_in_thousandths(lifetime: u64) -> u64 {
    let span = Duration::from_secs(lifetime);
    let longest = lifetime - wheel::margin(span).as_secs();
    let period = u64::from(wheel::period_for(span)) * 60;
    assert!(period <= longest, "a period of {period} s leaves no margin to {lifetime} s");
    1000 - period * 1000 / longest
}

#[test]
fn no_lifetime_loses_more_than_seventeen_hundredths() {
    let (worst, lifetime) = (600..=604_800).map(|lifetime| (loss_in_thousandths(lifetime), lifetime)).max().unwrap();
    println!(
        "grid: of 10 min to 7 d, a lifetime of {lifetime} s loses most: {}.{} % of the longest possible period",
        worst / 10,
        worst % 10
    );
    assert!(worst <= 170, "{worst} thousandths at {lifetime} s");
}

#[test]
fn the_usual_lifetimes_lose_next_to_nothing() {
    for (lifetime, at_most) in [(600, 60), (900, 40), (1800, 20), (3600, 10), (7200, 1), (14_400, 1), (86_400, 1)] {
        let loss = loss_in_thousandths(lifetime);
        println!("grid: a lifetime of {lifetime} s loses {}.{} %", loss / 10, loss % 10);
        assert!(loss <= at_most, "a lifetime of {lifetime} s loses {loss} thousandths");
    }
}
