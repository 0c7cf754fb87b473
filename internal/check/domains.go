package check

import (
	"strings"

	"sekisho/internal/config"
)

// classParams are the parameters that put domains into an address class.
var classParams = []string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"}

// Domains looks at the address classes: domains in two of them, and recipients
// that are accepted though nobody has them.
func Domains(cfg *config.Config) []Finding {
	found := overlaps(cfg)
	found = append(found, patterns(cfg)...)
	if len(cfg.List("relay_domains")) > 0 && cfg.Set("relay_domains") && len(cfg.List("relay_recipient_maps")) == 0 && !verifiesRecipients(cfg) {
		found = append(found, Finding{
			Code: "SEK306", Severity: Warning, Pos: cfg.Pos("relay_domains"),
			What: "relay_domains: mail for every recipient is accepted, existing or not",
			Why:  "what the next server refuses is returned to senders that spammers have forged (backscatter)",
			Mend: "list the recipients in relay_recipient_maps, or add reject_unverified_recipient to smtpd_recipient_restrictions",
		})
	}
	if len(cfg.List("mydestination")) > 0 && cfg.Set("local_recipient_maps") && len(cfg.List("local_recipient_maps")) == 0 {
		found = append(found, Finding{
			Code: "SEK307", Severity: Warning, Pos: cfg.Pos("local_recipient_maps"),
			What: "local_recipient_maps is empty: mail for every name in mydestination is accepted, existing or not",
			Why:  "what cannot be delivered is returned to senders that spammers have forged (backscatter)",
			Mend: "remove the line: the default knows the users and aliases",
		})
	}
	if cfg.Bool("soft_bounce") {
		found = append(found, Finding{
			Code: "SEK308", Severity: Note, Pos: cfg.Pos("soft_bounce"),
			What: "soft_bounce = yes: nothing is refused for good", Why: "every refusal is a 4xx; spammers and lost addresses come again for days",
			Mend: "set it to no when you have done testing",
		})
	}
	return found
}

// verifiesRecipients reports whether any list asks the next server for the
// recipient.
func verifiesRecipients(cfg *config.Config) bool {
	params := []string{"smtpd_relay_restrictions", "smtpd_recipient_restrictions"}
	for _, c := range cfg.List("smtpd_restriction_classes") {
		params = append(params, c.Text)
	}
	for _, p := range params {
		for _, it := range cfg.List(p) {
			if strings.EqualFold(it.Text, "reject_unverified_recipient") || strings.EqualFold(it.Text, "check_policy_service") {
				return true
			}
		}
	}
	return false
}

// overlaps finds domains that are written in two address classes. What tables
// say is not looked at.
func overlaps(cfg *config.Config) []Finding {
	var found []Finding
	first := make(map[string]string)
	for _, param := range classParams {
		for _, it := range cfg.List(param) {
			name := strings.ToLower(it.Text)
			if strings.ContainsAny(name, ":/!") {
				continue
			}
			other, twice := first[name]
			if !twice || other == param {
				first[name] = param
				continue
			}
			found = append(found, Finding{
				Code: "SEK305", Severity: Warning, Pos: orParam(it.Pos, cfg, param),
				What: it.Text + " stands in both " + other + " and " + param,
				Why:  "the first of the two decides how its mail is delivered; recipients of the other are unknown",
				Mend: "remove it from one",
			})
		}
	}
	return found
}

// patterns finds elements of domain lists that no domain matches.
func patterns(cfg *config.Config) []Finding {
	var found []Finding
	for _, param := range classParams {
		for _, it := range cfg.List(param) {
			if !strings.HasPrefix(it.Text, "*") {
				continue
			}
			found = append(found, Finding{
				Code: "SEK309", Severity: Warning, Pos: orParam(it.Pos, cfg, param),
				What: param + ": " + it.Text + " matches nothing", Why: "lists of domains have no wildcards",
				Mend: "write " + strings.TrimLeft(it.Text, "*.") + ", which " + subdomains(cfg, param),
			})
		}
	}
	return found
}

func subdomains(cfg *config.Config, param string) string {
	for _, p := range cfg.Strings("parent_domain_matches_subdomains") {
		if p == param {
			return "matches its sub-domains too"
		}
	}
	return "matches that domain; its sub-domains are matched by a table with patterns"
}
