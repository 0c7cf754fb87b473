package conformance

import "path/filepath"

// rimapSite is the variant of the site whose passwords an IMAP server checks,
// by way of saslauthd.
const rimapSite = "rimap"

// imapConf is a Dovecot with the accounts of the site, that serves IMAP. A
// failed login is answered at once and leaves no penalty.
const imapConf = `
base_dir = /run/dovecot-imap
log_path = /var/log/dovecot-imap.log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:~/mail
passdb {
  driver = sql
  args = /etc/postfix/dovecot-sql.conf
}
userdb {
  driver = static
  args = uid=5000 gid=5000 home=/run/imap-homes/%u
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
`

// startRimap starts that Dovecot and a saslauthd that logs in there. Both end
// with the worker.
func startRimap() error {
	for file, content := range map[string]string{"dovecot-imap.conf": imapConf, "dovecot-sql.conf": dovecotSQL} {
		if err := write(filepath.Join(configDir, file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, command := range []string{
		"mkdir -p /run/dovecot-imap /run/imap-homes /run/saslauthd",
		"chown 5000:5000 /run/imap-homes",
		"dovecot -c /etc/postfix/dovecot-imap.conf",
		"saslauthd -a rimap -O localhost -r -m /run/saslauthd -n 2",
	} {
		if err := run(command); err != nil {
			return err
		}
	}
	return awaitListener("127.0.0.1:143")
}
