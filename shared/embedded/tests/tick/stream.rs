//! Batches of changes whose nudges or events are not taken.

use mm_engine::ports::ConnectionStore as _;
use mm_model::event::Change;

use crate::{
    faulty::{Call, Failure},
    world::{World, key},
};

/// Five people whose tokens are too short for the wheel, and their changes: each told as an event and by a nudge.
async fn five() -> (World, Vec<Change>) {
    let world = World::with([120; 5]).await;
    let mut changes = world.store.changes(None).await.unwrap().changes;
    changes.sort_by_key(|change| change.key.clone());
    assert!(changes.len() == 5 && changes.iter().all(|change| change.event.is_some() && change.soon.is_some()));
    (world, changes)
}

fn nudged(world: &World) -> Vec<String> {
    world.take_sent().into_iter().map(|(key, _)| key.user.to_string()).collect()
}

fn told(world: &World) -> Vec<String> {
    std::mem::take(&mut *world.events.told.lock().unwrap())
        .into_iter()
        .map(|event| event.key.user.to_string())
        .collect()
}

fn people(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| key(n).user.to_string()).collect()
}

#[tokio::test]
async fn an_event_that_nobody_takes_delays_nobodys_refresh() {
    for (nth, lost) in [(1, Failure::Refused), (3, Failure::Refused), (3, Failure::AnswerLost)] {
        let (world, changes) = five().await;
        world.faults.fail(Call::Publish, nth, lost);
        let failed = world.engine.on_changes(&changes).await.unwrap_err();
        let position = usize::try_from(nth).unwrap() - 1;
        assert_eq!(failed.position, position);
        assert_eq!(nudged(&world), people(0..5), "all are nudged");
        let until = position + usize::from(lost == Failure::AnswerLost);
        assert_eq!(told(&world), people(0..until), "events stop there, in order");
        world.engine.on_changes(&changes[position..]).await.unwrap();
        assert_eq!(told(&world), people(position..5), "and go on from there");
    }
}

#[tokio::test]
async fn a_nudge_that_the_queue_refuses_keeps_no_other_back_and_is_named() {
    let (world, changes) = five().await;
    world.faults.fail(Call::Send, 2, Failure::Refused);
    let failed = world.engine.on_changes(&changes).await.unwrap_err();
    assert_eq!(failed.position, 1);
    assert_eq!(nudged(&world), [people(0..1), people(2..5)].concat());
    assert_eq!(told(&world), people(0..1), "what comes again is told then");
}

#[tokio::test]
async fn of_two_failures_the_first_is_named() {
    let (world, changes) = five().await;
    world.faults.fail(Call::Publish, 1, Failure::Refused);
    let failed = world.engine.on_changes(&changes).await.unwrap_err();
    assert_eq!((failed.position, world.take_sent().len()), (0, 5));
    world.faults.fail(Call::Send, 5, Failure::Refused);
    let failed = world.engine.on_changes(&changes).await.unwrap_err();
    assert_eq!((failed.position, told(&world)), (4, people(0..4)));
}
