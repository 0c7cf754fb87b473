package smtp

import (
	"os"

	"sekisho/internal/matchlist"
	"sekisho/internal/sasl/client"
	"sekisho/internal/table"
)

// loginSettings reads the smtp_sasl_ parameters; nil means that nobody logs in.
func loginSettings(c params) (*Login, error) {
	if !c.Bool("smtp_sasl_auth_enable") {
		return nil, nil
	}
	l := &Login{
		Passwords:       c.Strings("smtp_sasl_password_maps"),
		SenderDependent: c.Bool("smtp_sender_dependent_authentication"),
		SoftBounce:      c.Bool("smtp_sasl_auth_soft_bounce"),
		DummyAuth:       c.Bool("smtp_send_dummy_mail_auth"),
	}
	if len(l.Passwords) == 0 {
		return nil, c.errorf("smtp_sasl_auth_enable", "name tables of passwords with %s", c.name("smtp_sasl_password_maps"))
	}
	if kind := c.Str("smtp_sasl_type"); kind != "cyrus" {
		return nil, c.errorf("smtp_sasl_type", "%q is no type for a client; use cyrus", kind)
	}
	if c.Str("smtp_sasl_auth_cache_name") != "" {
		l.Remember = c.Duration("smtp_sasl_auth_cache_time")
	}
	for name, to := range map[string]*client.Properties{
		"smtp_sasl_security_options": &l.Plain, "smtp_sasl_tls_security_options": &l.TLS, "smtp_sasl_tls_verified_security_options": &l.Verified,
	} {
		p, err := client.ParseProperties(c.Strings(name))
		if err != nil {
			return nil, c.errorf(name, "%w", err)
		}
		*to = p
	}
	if items := c.List("smtp_sasl_mechanism_filter"); len(items) > 0 {
		list, err := matchlist.Parse(c.name("smtp_sasl_mechanism_filter"), items, matchlist.Options{Partial: table.Partial, ReadFile: os.ReadFile})
		if err != nil {
			return nil, err
		}
		l.Filter = list
	}
	return l, nil
}
