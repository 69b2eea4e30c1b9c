//! Any bytes as the body of a push: what is read holds every entry, and says the same when written again.
#![no_main]

use lotgate_domain::protocol::push::PushRequest;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(request) = PushRequest::read(data) else { return };
    let frames = request.frames().unwrap_or_default();
    assert_eq!(u64::try_from(frames.len()).ok(), Some(request.header.count), "as many as announced");
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes()).copied().collect();
    assert_eq!(bytes, request.entries, "no byte between the entries");
    let again = request.write().ok().and_then(|body| PushRequest::read(&body).ok());
    assert_eq!(again.as_ref(), Some(&request));
});
