package master

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/cyrus"
	"sekisho/internal/sasl/rimap"
	"sekisho/internal/sasl/saslauthd"
)

// openCyrus does what an application's file of Cyrus SASL says, smtpd.conf by
// default.
func (b *builder) openCyrus(cfg *config.Config) (sasl.Backend, error) {
	pos := saslPos(cfg, "smtpd_sasl_path", "smtpd_sasl_type")
	f, err := cyrus.Find(cfg.Str("smtpd_sasl_path"), cyrusDirs(cfg))
	if err != nil {
		return nil, fmt.Errorf("%s: smtpd_sasl_type = cyrus: %w; or set smtpd_sasl_type = sekisho to use the accounts of sekisho_directory", pos, err)
	}
	backend, err := cyrus.New(f, cyrus.Options{
		Hostname: cfg.Str("myhostname"), LocalDomain: cfg.Str("smtpd_sasl_local_domain"),
		Methods: b.cyrusMethods(), Clock: b.shared.clock,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: smtpd_sasl_type = cyrus: %w", pos, err)
	}
	b.closers = append(b.closers, backend.Close)
	for _, w := range backend.Warnings() {
		b.log.Warn(w)
	}
	log := b.log
	go func() {
		if err := backend.Probe(context.Background()); err != nil && !errors.Is(err, context.Canceled) {
			log.Warn(fmt.Sprintf("%s: SASL: %v; until that is mended, logins get a temporary error", pos, err))
		}
	}()
	return backend, nil
}

// cyrusDirs are where Postfix with Cyrus SASL looks for the file: Debian's
// looks below its own configuration.
func cyrusDirs(cfg *config.Config) []string {
	dirs := strings.FieldsFunc(cfg.Str("cyrus_sasl_config_path"), func(r rune) bool { return r == ':' })
	return append(dirs, filepath.Join(cfg.Str("config_directory"), "sasl"), "/usr/lib/sasl2", "/usr/lib64/sasl2", "/etc/sasl2")
}

// cyrusMethods are what pwcheck_method can name besides auxprop.
func (b *builder) cyrusMethods() map[string]cyrus.Method {
	return map[string]cyrus.Method{
		"saslauthd": {Open: func(get func(string) string) (cyrus.Peer, error) {
			return saslauthd.New(get("saslauthd_path")), nil
		}},
		// Not Cyrus's: what saslauthd -a rimap does, without the daemon.
		"rimap": {
			Keys: []string{"rimap_server", "rimap_realm", "rimap_cafile"},
			Open: func(get func(string) string) (cyrus.Peer, error) {
				server := get("rimap_server")
				if server == "" {
					return nil, errors.New("rimap_server is not set: it names the IMAP server to log in to")
				}
				return rimap.New(rimap.Options{
					Server: server, Realm: cyrus.Yes(get("rimap_realm")), CAFile: get("rimap_cafile"), Clock: b.shared.clock,
				})
			},
		},
	}
}
