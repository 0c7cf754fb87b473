package conformance

import "path/filepath"

// dovecotSite is the variant of the site in which Sekisho asks a Dovecot. Postfix
// does so in all others.
const dovecotSite = "dovecot"

// writeDovecot writes the configuration of that Dovecot.
func writeDovecot() error {
	for file, content := range map[string]string{"dovecot.conf": dovecotConf, "dovecot-sql.conf": dovecotSQL} {
		if err := write(filepath.Join(configDir, file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// startDovecot starts it for Sekisho, which comes without a queue directory's
// private folder. It ends with the worker.
func startDovecot() error {
	if err := writeDovecot(); err != nil {
		return err
	}
	for _, command := range []string{
		"mkdir -p /run/dovecot /var/spool/postfix/private",
		"dovecot -c /etc/postfix/dovecot.conf",
	} {
		if err := run(command); err != nil {
			return err
		}
	}
	return nil
}
