package check

import (
	"sekisho/internal/config"
	"sekisho/internal/table"
)

// addressMaps are the parameters whose tables are asked for mail addresses and
// domains, never for IP addresses.
var addressMaps = []string{
	"canonical_maps", "sender_canonical_maps", "recipient_canonical_maps", "virtual_alias_maps", "virtual_mailbox_maps",
	"local_recipient_maps", "relay_recipient_maps", "alias_maps", "transport_maps", "relocated_maps", "smtpd_sender_login_maps",
	"sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps", "sender_bcc_maps", "recipient_bcc_maps",
	"smtp_generic_maps", "smtp_sasl_password_maps", "relay_domains", "mydestination", "virtual_alias_domains", "virtual_mailbox_domains",
}

// textMaps are asked for whole lines of messages and commands.
var textMaps = []string{"header_checks", "mime_header_checks", "nested_header_checks", "body_checks", "smtp_header_checks", "smtp_body_checks"}

// Maps finds tables of a kind that cannot have what is looked up.
func Maps(cfg *config.Config) []Finding {
	var found []Finding
	look := func(params []string, wrong map[string]string) {
		for _, param := range params {
			if !cfg.Set(param) {
				continue // the default is another's value
			}
			for _, it := range cfg.List(param) {
				typ, _ := table.Split(it.Text, "")
				if mend, bad := wrong[typ]; bad {
					found = append(found, Finding{
						Code: "SEK404", Severity: Warning, Pos: orParam(it.Pos, cfg, param), What: param + ": " + it.Text + " never matches",
						Why: "a table of this kind cannot have what is looked up here", Mend: mend,
					})
				}
			}
		}
	}
	look(addressMaps, map[string]string{"cidr": "use a hash or pcre table"})
	const patterns = "use a regexp or pcre table"
	look(textMaps, map[string]string{"cidr": patterns, "hash": patterns, "btree": patterns, "lmdb": patterns, "texthash": patterns})
	return found
}
