package master

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"sekisho/internal/config"
	"sekisho/internal/directory"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/dovecot"
)

// way is one value of smtpd_sasl_type.
type way struct {
	// params are the parameters that tell one backend of this type from another:
	// services that agree on them share one.
	params []string
	open   func(b *builder, cfg *config.Config) (sasl.Backend, error)
}

// ways are all places where passwords can be checked, by smtpd_sasl_type.
func ways() map[string]way {
	return map[string]way{
		"sekisho": {[]string{"sekisho_directory", "sekisho_password_upgrade", "myhostname"}, (*builder).openEmbedded},
		"cyrus": {
			[]string{"smtpd_sasl_path", "smtpd_sasl_local_domain", "cyrus_sasl_config_path", "myhostname"},
			(*builder).openCyrus,
		},
		"dovecot": {[]string{"smtpd_sasl_path", "queue_directory"}, (*builder).openDovecot},
	}
}

// accounts returns where a service checks passwords, nil after a failure that
// is noted.
func (b *builder) accounts(cfg *config.Config) sasl.Backend {
	typ, all := cfg.Str("smtpd_sasl_type"), ways()
	w, ok := all[typ]
	if !ok {
		b.fail(fmt.Errorf("%s: smtpd_sasl_type = %s: Sekisho cannot check passwords that way; it can with %s. Set smtpd_sasl_type = sekisho to use the accounts of sekisho_directory, or smtpd_sasl_auth_enable = no",
			saslPos(cfg, "smtpd_sasl_type"), typ, strings.Join(slices.Sorted(maps.Keys(all)), ", ")))
		return nil
	}
	key := typ
	for _, p := range w.params {
		key += "\n" + cfg.Str(p)
	}
	if backend, ok := b.backends[key]; ok {
		return backend
	}
	backend, err := w.open(b, cfg)
	if err != nil {
		b.fail(err)
		backend = nil
	}
	b.backends[key] = backend
	return backend
}

// saslPos is where a parameter is set, or for one that isn't, where logins are
// asked for.
func saslPos(cfg *config.Config, params ...string) config.Pos {
	for _, p := range append(params, "smtpd_sasl_auth_enable") {
		if pos := cfg.Pos(p); pos != (config.Pos{}) {
			return pos
		}
	}
	return config.Pos{}
}

// openEmbedded checks passwords against our own account directory. That its
// database cannot be asked now is said, but it may come yet.
func (b *builder) openEmbedded(cfg *config.Config) (sasl.Backend, error) {
	dir, err := directory.Open(context.Background(), cfg.Str("sekisho_directory"), b.shared.clock)
	if err != nil {
		return nil, fmt.Errorf("%s: sekisho_directory: %w", cfg.Pos("sekisho_directory"), err)
	}
	b.closers = append(b.closers, dir.Close)
	pos, log := saslPos(cfg, "sekisho_directory", "smtpd_sasl_type"), b.log
	go func() {
		if err := dir.Check(context.Background()); err != nil {
			log.Warn(fmt.Sprintf("%s: sekisho_directory = %s: SASL: %v; until that is mended, logins get a temporary error",
				pos, cfg.Str("sekisho_directory"), err))
		}
	}()
	backend, err := sasl.NewEmbedded(dir, cfg.Str("myhostname"), b.shared.clock)
	if err != nil {
		return nil, fmt.Errorf("%s: sekisho_directory: %w", cfg.Pos("sekisho_directory"), err)
	}
	if err := upgrade(backend, cfg); err != nil {
		return nil, err
	}
	return backend, nil
}

// openDovecot asks a Dovecot. That it cannot be reached now is said, but it may
// come yet.
func (b *builder) openDovecot(cfg *config.Config) (sasl.Backend, error) {
	backend := dovecot.New(cfg.Str("smtpd_sasl_path"), cfg.Str("queue_directory"), b.shared.clock)
	b.closers = append(b.closers, backend.Close)
	pos, log := saslPos(cfg, "smtpd_sasl_path", "smtpd_sasl_type"), b.log
	go func() {
		err := backend.Connect(context.Background())
		if err == nil || errors.Is(err, context.Canceled) {
			return
		}
		log.Warn(fmt.Sprintf("%s: smtpd_sasl_path = %s: SASL: %v; until that is mended, logins get a temporary error: %s",
			pos, cfg.Str("smtpd_sasl_path"), err, mend(err, backend.Socket(), cfg.Str("mail_owner"))))
	}()
	return backend, nil
}

// mend says what to do about an authentication socket that cannot be used.
func mend(err error, socket, owner string) string {
	switch {
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("let user %s use %s: in Dovecot's service auth, unix_listener with mode = 0660 and user = %s", owner, socket, owner)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Sprintf("there is no %s: have Dovecot make it, with a unix_listener in service auth, or name the socket that it makes", socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("start the Dovecot that listens at %s", socket)
	}
	return fmt.Sprintf("see that a Dovecot answers clients at %s", socket)
}
