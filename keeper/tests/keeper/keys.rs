//! Keys on their way to the daemon, over the real endpoint.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use boathouse_keeper::time::now_ms;
use csi_proto::keeper::v1::request::Call;
use csi_proto::keeper::v1::{Generation, Login, SetGeneration, SetLogin};

use crate::fixture::{Mount, POLL_MS, environment, generation};

crate::trials!(
    the_daemon_fetches_its_keys,
    a_new_generation_is_handed_out_from_then_on,
    an_expired_lease_is_refused_and_recovers,
    only_the_daemon_s_token_opens_the_endpoint,
    the_newest_login_is_kept,
    unusable_keys_are_refused,
    secrets_in_the_daemon_s_output_are_not_passed_on,
);

fn set(generation: Generation) -> Call {
    Call::SetGeneration(SetGeneration { generation: Some(generation) })
}

fn the_daemon_fetches_its_keys() {
    let mut mount = Mount::new();
    let before = now_ms();
    let answer = mount.order("fetch");
    let after = now_ms();
    assert!(answer.starts_with("HTTP/1.1 200 OK|"), "{answer}");
    let status = mount.status();
    assert_eq!((status.fetches, status.uses.len()), (1, 1));
    let given = &status.uses[0];
    assert_eq!(given.generation_id, "g1");
    assert!((before..=after).contains(&given.last_handed_out_ms));
    assert_eq!(given.usable_until_ms, given.last_handed_out_ms + POLL_MS);
    let told = boathouse_keeper::time::rfc3339(given.usable_until_ms + 300_000);
    let body =
        format!("||{{\"AccessKeyId\":\"AK-g1\",\"SecretAccessKey\":\"SK-g1\",\"Expiration\":\"{told}\"}}");
    assert!(answer.ends_with(&body), "{answer} does not end with {body}");
}

fn a_new_generation_is_handed_out_from_then_on() {
    let mut mount = Mount::new();
    mount.order("fetch");
    let status = mount.ask(set(generation("g2"))).status.unwrap();
    assert_eq!(status.current.unwrap().id, "g2");
    assert_eq!(status.uses[0].generation_id, "g1", "not handed out yet");
    assert!(mount.order("fetch").contains("\"SK-g2\""));
    assert!(mount.ask(set(generation("g2"))).status.is_some(), "again is no different");
    assert!(mount.order("fetch").contains("\"SK-g2\""));
    let refused = mount.ask(set(generation("g1")));
    assert!(refused.error.contains("\"g1\"") && refused.status.is_none(), "{}", refused.error);
    assert!(mount.order("fetch").contains("\"SK-g2\""));
    let status = mount.status();
    let ids: Vec<_> = status.uses.iter().map(|entry| entry.generation_id.as_str()).collect();
    assert_eq!((ids.as_slice(), status.fetches), (&["g2", "g1"][..], 4));
}

fn an_expired_lease_is_refused_and_recovers() {
    let expired = Generation { expires_at_ms: now_ms() - 1, ..generation("g1") };
    let mut mount = Mount::with(|launch| launch.generation = Some(expired));
    let answer = mount.order("fetch");
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden|"), "{answer}");
    assert!(answer.contains(r#"{"code":"LeaseExpired","message":""#), "{answer}");
    assert_eq!(mount.status().fetches, 0);
    let ends = now_ms() + 20_000;
    mount.ask(set(Generation { expires_at_ms: ends, ..generation("g2") }));
    assert!(mount.order("fetch").contains("\"AK-g2\""));
    assert_eq!(mount.status().uses[0].usable_until_ms, ends, "not past the lease");
}

fn only_the_daemon_s_token_opens_the_endpoint() {
    let mut mount = Mount::new();
    let variables = environment(mount.daemon_pid);
    let value = |name: &str| variables.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let uri = value("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let host = uri.strip_prefix("http://").unwrap().strip_suffix("/credentials").unwrap();
    let token = value("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    let wrong = format!("{}x", &token[..63]);
    for (status, method, path, shown) in [
        (401, "GET", "/credentials", ""),
        (401, "GET", "/credentials", wrong.as_str()),
        (404, "GET", "/", token.as_str()),
        (405, "PUT", "/credentials", token.as_str()),
        (200, "GET", "/credentials", token.as_str()),
    ] {
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nAuthorization: {shown}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        assert_eq!(answer.contains("SK-g1"), status == 200, "{answer}");
    }
    assert_eq!(mount.status().fetches, 1);
    assert!(mount.order("fetch").contains("AK-g1"));
}

fn the_newest_login_is_kept() {
    let mount = Mount::new();
    let login = Login { jwt: "jwt-2".into() };
    let status = mount.ask(Call::SetLogin(SetLogin { login: Some(login) })).status.unwrap();
    assert_eq!(status.login.unwrap().jwt, "jwt-2");
    let refused = mount.ask(Call::SetLogin(SetLogin { login: None }));
    assert!(refused.error.contains("SetLogin"), "{}", refused.error);
    assert_eq!(mount.status().login.unwrap().jwt, "jwt-2");
}

fn unusable_keys_are_refused() {
    let mut mount = Mount::new();
    let keyless = Generation { secret_key: String::new(), ..generation("g2") };
    for (call, named) in [
        (set(keyless), "secret_key"),
        (Call::SetGeneration(SetGeneration { generation: None }), "no generation"),
    ] {
        let refused = mount.ask(call);
        assert!(refused.error.contains(named) && refused.status.is_none(), "{}", refused.error);
    }
    assert!(mount.order("fetch").contains("\"SK-g1\""));
}

fn secrets_in_the_daemon_s_output_are_not_passed_on() {
    let mut mount = Mount::new();
    let token = environment(mount.daemon_pid)
        .into_iter()
        .find_map(|(name, value)| (name == "AWS_CONTAINER_AUTHORIZATION_TOKEN").then_some(value))
        .unwrap();
    mount.order(&format!("print Authorization: {token} SK-g1"));
    mount.order("exit 0");
    let reply = mount.ask(Call::Watch(csi_proto::keeper::v1::WatchRequest {}));
    assert_eq!(reply.status.unwrap().last_output, "Authorization: [redacted] [redacted]\n");
}
