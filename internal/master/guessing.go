package master

import (
	"fmt"

	"sekisho/internal/config"
	"sekisho/internal/directory/password"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/penalty"
)

// guard lets the answers to a service's failed logins wait. Dovecot does that
// itself, by the address of the client that it is told.
func (b *builder) guard(backend sasl.Backend, cfg *config.Config) sasl.Backend {
	if cfg.Str("smtpd_sasl_type") == "dovecot" {
		return backend
	}
	return penalty.Guard(backend, b.shared.guesses, penalty.Settings{
		Delay:  cfg.Duration("sekisho_auth_failure_delay"),
		Max:    cfg.Duration("sekisho_auth_failure_max_delay"),
		Forget: cfg.Duration("sekisho_auth_failure_forget_time"),
	})
}

// upgrade applies sekisho_password_upgrade.
func upgrade(backend *sasl.Embedded, cfg *config.Config) error {
	const param = "sekisho_password_upgrade"
	wanted := cfg.Str(param)
	if wanted == "" {
		return nil
	}
	scheme, err := password.Target(wanted)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", cfg.Pos(param), param, err)
	}
	backend.UpgradeTo(scheme)
	return nil
}
