//! Passwords and certificates.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use runnel_metastore::{ErrorKind, Etcd, EtcdTls, MetaStore};

use super::server::{Server, put};

/// Turns on passwords, with a user who may do everything.
async fn with_password(server: &Server, password: &str) {
    server.ask("auth/user/add", &format!(r#"{{"name": "root", "password": "{password}"}}"#)).await;
    server.ask("auth/user/grant", r#"{"user": "root", "role": "root"}"#).await;
    server.ask("auth/enable", "{}").await;
}

/// The right password is let in, a wrong one and none are told so; a restart makes etcd forget its tokens, not us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_asked_for() {
    let mut server = Server::start().await;
    server.ask("auth/role/add", r#"{"name": "root"}"#).await;
    with_password(&server, "right").await;
    let store = |password: &str| {
        let mut options = server.options();
        options.user = Some(("root".to_owned(), password.to_owned()));
        Etcd::connect(&options).unwrap()
    };
    let (mine, wrong, none) = (store("right"), store("wrong"), server.store());
    put(&mine, "k", "1").await;
    for refused in [&wrong, &none] {
        let error = refused.get("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    }
    let error = wrong.watch("k", 1).next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");

    let lease = mine.grant_lease(std::time::Duration::from_secs(60)).await.unwrap();
    let mut watch = mine.watch("k", 1);
    assert_eq!(watch.next().await.unwrap().events.len(), 1);
    server.kill();
    server.start_again().await;
    put(&mine, "k", "2").await;
    mine.keep_alive(lease).await.unwrap();
    assert_eq!(watch.next().await.unwrap().events.len(), 1);
}

/// Who signs both sides' certificates.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "tests of runnel");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for loopback, and its key.
fn certificate(authority: &CertifiedIssuer<'_, KeyPair>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

/// Both sides show certificates; without ours, or without trust in theirs, nothing is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_on_both_sides() {
    let files = tempfile::tempdir().unwrap();
    let authority = authority();
    let (certificate_pem, key_pem) = certificate(&authority);
    let file = |name: &str, content: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let ca = file("ca.pem", &authority.pem());
    let args = ["--cert-file", &file("cert.pem", &certificate_pem), "--key-file", &file("key.pem", &key_pem)];
    let trust = ["--client-cert-auth", "--trusted-ca-file", &ca];
    let server = Server::start_with(args.iter().chain(&trust).map(|&arg| arg.to_owned()).collect()).await;

    let connect = |tls: EtcdTls| {
        let mut options = server.options();
        options.tls = Some(tls);
        Etcd::connect(&options)
    };
    let trusted = Some(authority.pem().into_bytes());
    let (mine, key) = certificate(&authority);
    let client = Some((mine.into_bytes(), key.into_bytes()));
    put(&connect(EtcdTls { ca: trusted.clone(), client: client.clone() }).unwrap(), "k", "1").await;

    let strangers = EtcdTls { ca: trusted, client: None };
    let untrusted = EtcdTls { ca: Some(self::authority().pem().into_bytes()), client };
    for refused in [strangers, untrusted] {
        let error = connect(refused).unwrap().get("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let garbage = EtcdTls { ca: Some(b"no certificate".to_vec()), client: None };
    assert_eq!(connect(garbage).map(drop).unwrap_err().kind(), ErrorKind::Invalid);
}
