//! The files that an alertmanager.yml names.

use super::{BasicAuth, File, Http, Receiver};

impl File {
    /// Each of them, as far as it is followed natively.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut String> {
        let global = &mut self.global;
        let own = [&mut global.slack_api_url_file, &mut global.smtp_auth_password_file];
        own.into_iter()
            .chain(global.http_config.files())
            .chain(self.receivers.iter_mut().flat_map(Receiver::files))
    }
}

impl Receiver {
    fn files(&mut self) -> impl Iterator<Item = &mut String> {
        let slack = self.slack_configs.iter_mut().flat_map(|config| {
            [&mut config.api_url_file].into_iter().chain(config.http_config.iter_mut().flat_map(Http::files))
        });
        let pagerduty = self.pagerduty_configs.iter_mut().flat_map(|config| {
            let keys = [&mut config.routing_key_file, &mut config.service_key_file];
            keys.into_iter().chain(config.http_config.iter_mut().flat_map(Http::files))
        });
        let webhook = self.webhook_configs.iter_mut().flat_map(|config| {
            [&mut config.url_file].into_iter().chain(config.http_config.iter_mut().flat_map(Http::files))
        });
        let email = self
            .email_configs
            .iter_mut()
            .flat_map(|config| [&mut config.auth_password_file].into_iter().chain(config.tls_config.files()));
        slack.chain(pagerduty).chain(webhook).chain(email)
    }
}

impl Http {
    fn files(&mut self) -> impl Iterator<Item = &mut String> {
        let password = self.basic_auth.iter_mut().flat_map(BasicAuth::files);
        let credentials = self.authorization.iter_mut().filter_map(|told| told.credentials_file.as_mut());
        self.tls_config.files().chain(password).chain(credentials).chain(&mut self.bearer_token_file)
    }
}
