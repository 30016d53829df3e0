//! Who is kept out, and from what (P22).

use std::path::Path;

use crate::support::{NAME, Runs, Served, TOKEN};

/// Texts by which MLflow's server gave away files: CVE-2023-1177, CVE-2023-2780, CVE-2024-1483, CVE-2024-2928, CVE-2024-3848, and
/// their like.
const PAYLOADS: [&str; 34] = [
    "..",
    "../secret.txt",
    "../../secret.txt",
    "../../../../../../../../etc/passwd",
    "..%2fsecret.txt",
    "..%2f..%2fsecret.txt",
    "%2e%2e/secret.txt",
    "%2e%2e%2f%2e%2e%2fsecret.txt",
    "%252e%252e%252fsecret.txt",
    "..%252fsecret.txt",
    "..\\secret.txt",
    "..%5csecret.txt",
    "....//secret.txt",
    "..;/secret.txt",
    "%c0%ae%c0%ae/secret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "//proc/self/cwd/secret.txt",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "FILE:///etc/passwd",
    "local:/etc/passwd",
    "C:/Windows/win.ini",
    "C:\\Windows\\win.ini",
    "model.onnx%00",
    "secret.txt%00model.onnx",
    "#/../../secret.txt",
    "%23/../../secret.txt",
    "http:%2f%2fhost%2f%23%2f..%2f..%2fsecret.txt",
    "http:///%23/../../../../../etc/passwd",
    "?path=../../secret.txt",
    ".lock",
];

#[test]
fn p22_no_path_leads_out_of_the_list() {
    let runs = Runs::new();
    std::fs::write(runs.around().join("secret.txt"), "a secret").unwrap();
    std::fs::write(runs.logdir().join("secret.txt"), "a secret").unwrap();
    std::fs::write(runs.search().join("secret.txt"), "a secret").unwrap();
    std::fs::write(runs.search().join(".lock"), "a secret").unwrap();
    let served = Served::new(&runs.logdir());
    let run = served.run();
    let found = served.get(&format!("{run}/search/files/final_model_desc.yaml"));
    assert_eq!(found.status, 200);
    let mut refused = 0;
    for payload in PAYLOADS {
        for target in [
            format!("/{payload}"),
            format!("/runs/{payload}/search"),
            format!("{run}/{payload}"),
            format!("{run}/search/files/{payload}"),
            format!("{run}/search/files/{payload}/model.onnx"),
            format!("{run}/{payload}/files/secret.txt"),
            format!("/get-artifact?path={payload}&run_uuid=1"),
            format!("/model-versions/get-artifact?path={payload}&name=a&version=1"),
            format!("/compare?runs={payload}"),
            format!("/pieces?have={payload}"),
            payload.to_string(),
        ] {
            let reply = served.get(&target);
            assert!(
                !reply.body.contains("a secret") && !reply.body.contains("root:"),
                "{target}"
            );
            match reply.status {
                400 | 404 => refused += 1,
                // A page that exists, on which the payload names nothing.
                200 => assert!(
                    ["/?path", "/compare?", "/pieces?"]
                        .iter()
                        .any(|own| target.starts_with(own)),
                    "{target}"
                ),
                status => panic!("{target}: {status}"),
            }
        }
    }
    assert!(refused > 9 * PAYLOADS.len() - 12, "{refused}");
}

#[cfg(unix)]
#[test]
fn p22_links_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let runs = Runs::new();
    let secret = runs.around().join("secret");
    std::fs::write(&secret, "a secret").unwrap();
    let model = runs.eval().join("model.onnx");
    std::fs::remove_file(&model).unwrap();
    symlink(&secret, &model).unwrap();
    // A run elsewhere, to which a link leads.
    let elsewhere = runs.around().join("elsewhere");
    crate::support::copy(&runs.search(), &elsewhere.join("gs_x_y_search"));
    symlink(&elsewhere, runs.logdir().join("link")).unwrap();
    let served = Served::new(&runs.logdir());
    let run = served.run();
    let page = served.get(&format!("{run}/evaluation"));
    page.has(&["files/model.safetensors"]);
    assert!(!page.body.contains("files/model.onnx"));
    assert_eq!(
        served
            .get(&format!("{run}/evaluation/files/model.onnx"))
            .status,
        404
    );
    assert!(!served.get("/").body.contains("gs_x_y"));
    // A directory whose place a link takes later.
    std::fs::rename(runs.search(), runs.around().join("moved")).unwrap();
    symlink(runs.around().join("moved"), runs.search()).unwrap();
    let reply = served.get(&format!("{run}/search/files/final_model_desc.yaml"));
    assert_eq!(reply.status, 404);
}

#[test]
fn p22_nothing_is_shown_without_the_token() {
    let runs = Runs::new();
    let served = Served::new(&runs.logdir());
    let run = served.run();
    let at = served.at;
    for target in [
        "/",
        "/pieces",
        "/events",
        "/now",
        "/compare",
        &run,
        "/nothing",
        "/?token=wrong",
    ] {
        for fields in [
            "",
            "Cookie: archai-1=2\r\n",
            "Authorization: Bearer wrong\r\n",
            "Authorization: Basic YTpi\r\n",
        ] {
            let reply = served.say(&format!(
                "GET {target} HTTP/1.1\r\nHost: {at}\r\n{fields}\r\n"
            ));
            assert_eq!(reply.status, 401, "{target} {fields}");
            assert!(!reply.body.contains(NAME) && reply.field("set-cookie").is_none());
        }
    }
    let reply = served.say(&format!(
        "GET {run}/search HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    ));
    assert_eq!(reply.status, 200);
    // Neither script nor style tells anything.
    for target in ["/app.js", "/app.css", "/favicon.svg"] {
        let reply = served.say(&format!("GET {target} HTTP/1.1\r\nHost: {at}\r\n\r\n"));
        assert!(
            reply.status == 200 && !reply.body.contains(NAME),
            "{target}"
        );
    }
}

#[test]
fn p22_other_names_and_other_pages_are_refused() {
    let runs = Runs::new();
    let served = Served::new(&runs.logdir());
    let cookie = &served.cookie;
    let status = |host: &str, origin: &str| {
        let origin = if origin.is_empty() {
            String::new()
        } else {
            format!("Origin: {origin}\r\n")
        };
        served
            .say(&format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n{origin}\r\n"
            ))
            .status
    };
    let port = served.at.port();
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        "here:1".into(),
        "[::1]:5".into(),
    ] {
        assert_eq!(status(&host, ""), 200, "{host}");
        assert_eq!(status(&host, &format!("http://{host}")), 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "",
    ] {
        assert_eq!(status(host, ""), 421, "{host}");
    }
    for origin in [
        "http://evil.example",
        "null",
        "http://localhost:1",
        "https://127.0.0.1",
    ] {
        assert_eq!(status(&served.at.to_string(), origin), 403, "{origin}");
    }
    let none = served.say(&format!("GET / HTTP/1.1\r\nCookie: {cookie}\r\n\r\n"));
    assert_eq!(none.status, 400);
}

/// Every file below a folder with its size and when it was written.
fn tree(folder: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        found.push((
            path.display().to_string(),
            metadata.len(),
            metadata.modified().unwrap(),
        ));
        if path.is_dir() {
            found.extend(tree(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn p22_nothing_is_written() {
    let runs = Runs::new();
    runs.unfinished();
    let before = tree(runs.around());
    let served = Served::new(&runs.logdir());
    let run = served.run();
    let own = format!("Origin: http://{}\r\nX-Archai: stop\r\n", served.at);
    for method in [
        "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "MKCOL", "get",
    ] {
        let reply = served.ask(method, &format!("{run}/search"), &own);
        assert!(
            matches!(reply.status, 400 | 405),
            "{method}: {}",
            reply.status
        );
    }
    for target in [
        "/",
        "/pieces",
        &format!("{run}/search"),
        &format!("{run}/search/files/final_model_desc.yaml"),
        &format!("{run}/delete"),
    ] {
        assert_eq!(served.ask("POST", target, &own).status, 405, "{target}");
    }
    for target in [
        "/",
        "/now",
        "/compare",
        &format!("{run}/search"),
        &format!("{run}/search/files/report.html"),
    ] {
        let reply = served.get(target);
        assert!(matches!(reply.status, 200 | 303), "{target}");
    }
    let _news = served.events("/events").next();
    assert_eq!(tree(runs.around()), before);
}

#[test]
fn p22_only_the_page_of_a_run_stops_it() {
    let runs = Runs::new();
    runs.unfinished();
    let served = Served::new(&runs.logdir());
    let stop = format!("{}/stop", served.run());
    let (at, cookie) = (served.at, &served.cookie);
    let asked = || served.asked.0.lock().unwrap().clone();
    for (fields, status) in [
        (
            format!("Host: {at}\r\nOrigin: http://{at}\r\nX-Archai: stop\r\n"),
            401,
        ),
        (format!("Host: {at}\r\nCookie: {cookie}\r\n"), 403),
        (
            format!("Host: {at}\r\nCookie: {cookie}\r\nX-Archai: stop\r\n"),
            403,
        ),
        (
            format!("Host: {at}\r\nCookie: {cookie}\r\nOrigin: http://{at}\r\n"),
            403,
        ),
        (
            format!(
                "Host: {at}\r\nCookie: {cookie}\r\nOrigin: http://evil.example\r\nX-Archai: stop\r\n"
            ),
            403,
        ),
        (
            format!(
                "Host: evil.example\r\nCookie: {cookie}\r\nOrigin: http://evil.example\r\nX-Archai: stop\r\n"
            ),
            421,
        ),
    ] {
        let reply = served.say(&format!("POST {stop} HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(reply.status, status, "{fields}");
    }
    for target in [&stop, &format!("{stop}?token={TOKEN}")] {
        assert_ne!(served.get(target).status, 200, "{target}");
    }
    assert!(asked().is_empty());
    served
        .get(&format!("{}/search", served.run()))
        .has(&["Stop after this step", "Process 17 on here"]);

    let own = format!("Origin: http://{at}\r\nX-Archai: stop\r\nContent-Length: 0\r\n");
    let reply = served.ask("POST", &stop, &own);
    assert_eq!((reply.status, asked()), (200, vec![17]));
    reply.has(&["process 17 stops after its present step"]);
    // A second interrupt would end it at once.
    assert_eq!(
        (served.ask("POST", &stop, &own).status, asked()),
        (200, vec![17])
    );
    served
        .get(&format!("{}/search", served.run()))
        .has(&["It stops after its present step."]);

    // By a program, too.
    let reply = served.say(&format!(
        "POST {stop} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    ));
    assert_eq!(reply.status, 200);

    // Of a process elsewhere, and of one that has ended, it says so.
    for (lock, text) in [
        (
            r#"{"pid":17,"host":"there"}"#,
            "works on there, which cannot be asked from here",
        ),
        (
            r#"{"pid":18,"host":"here","since":1}"#,
            "no process works on this run",
        ),
    ] {
        std::fs::write(runs.search().join(".lock"), lock).unwrap();
        let reply = served.ask("POST", &stop, &own);
        assert_eq!((reply.status, asked()), (409, vec![17]));
        reply.has(&[text]);
    }
}

#[test]
fn p22_every_answer_says_what_a_browser_may_do() {
    let runs = Runs::new();
    let served = Served::new(&runs.logdir());
    let run = served.run();
    for target in [
        "/",
        "/app.js",
        "/nothing",
        "/now",
        &format!("{run}/search/files/final_model_desc.yaml"),
    ] {
        let reply = served.get(target);
        let policy = reply.field("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("http"));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(reply.field(name), Some(value), "{target}");
        }
        assert!(
            !reply.body.contains("<script>") && !reply.body.contains("http://"),
            "{target}"
        );
    }
}
