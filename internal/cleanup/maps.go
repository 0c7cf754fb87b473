package cleanup

import (
	"strings"

	"sekisho/internal/mail"
	"sekisho/internal/tok822"
)

// maxMappings is how often a canonical map is applied to its own result.
const maxMappings = 10

// lookup replaces an address by what address tables say. failed: there is an
// answer, but it cannot be had.
func (m *Message) lookup(t *tables, addr string, propagate bool) (results []string, failed bool) {
	found := m.c.world.Resolver.FindMapping(m.src, t.maps, addr)
	m.warnings(found.Warnings)
	if found.Failed || !found.Found {
		return nil, found.Failed
	}
	value, ext := found.Value, found.Ext
	if strings.HasPrefix(value, "@") {
		local, _, _ := mail.SplitAddress(addr)
		value = mail.Quote(strings.TrimSuffix(local, ext) + value)
	}
	if !propagate {
		ext = ""
	}
	results = m.addresses(value, ext)
	if len(results) == 0 {
		m.bareWarn(t.param + " lookup of " + addr + " returns non-address result \"" + value + "\"")
		return nil, true
	}
	return results, false
}

// addresses reads a table's result: a list of addresses, each brought into
// standard form and given ext.
func (m *Message) addresses(value, ext string) []string {
	if value == "" || value == "<>" {
		value = `""`
	}
	var out []string
	for _, a := range tok822.Parse(value, 0).Addresses() {
		addr := m.c.world.Resolver.Rewrite(a.Internal())
		if ext != "" {
			local, domain, has := mail.SplitAddress(addr)
			addr = local + ext
			if has {
				addr += "@" + domain
			}
		}
		out = append(out, addr)
	}
	return out
}

// mapOne applies a canonical map to an address until it says nothing more.
// changed: the address became another on the way, be it the first one again.
func (m *Message) mapOne(t *mapping, where place, addr string) (mapped string, changed bool) {
	if len(t.maps) == 0 || t.places&where == 0 {
		return addr, false
	}
	for range maxMappings {
		results, failed := m.lookup(&t.tables, addr, m.c.set.propagateCanonical)
		if failed {
			m.warn("%s map lookup problem for %s -- message not accepted, try again later", t.param, mail.Quote(addr))
			m.trouble |= noQueue
			return addr, changed
		}
		if len(results) == 0 {
			return addr, changed
		}
		if len(results) > 1 {
			m.warn("multi-valued %s entry for %s", t.param, mail.Quote(addr))
		}
		before := addr
		addr = results[0]
		changed = changed || addr != before
		if strings.EqualFold(before, addr) {
			return addr, changed
		}
	}
	m.warn("unreasonable %s map nesting for %s -- message not accepted, try again later", t.param, mail.Quote(addr))
	return addr, changed
}

// masquerade hides the hosts below the domains of masquerade_domains. The
// first domain that the address's is or is below decides.
func (m *Message) masquerade(where place, addr string) string {
	s := &m.c.set
	local, domain, has := mail.SplitAddress(addr)
	if len(s.masqueradeDomains) == 0 || s.masqueradePlaces&where == 0 || !has || m.unmasked(local) {
		return addr
	}
	low := strings.ToLower(domain)
	for _, d := range s.masqueradeDomains {
		bare := strings.TrimLeft(d, "!")
		hide := (len(d)-len(bare))%2 == 0
		bare = strings.ToLower(bare)
		switch {
		case bare == "":
		case bare == low:
			return addr
		case strings.HasSuffix(low, "."+bare):
			if hide {
				return local + "@" + bare
			}
			return addr
		}
	}
	return addr
}

// unmasked reports whether a user is among masquerade_exceptions.
func (m *Message) unmasked(local string) bool {
	if m.c.set.masqueradeExceptions == nil {
		return false
	}
	name, _, _ := mail.SplitAddress(mail.Quote(local + "@x"))
	r := m.c.set.masqueradeExceptions.MatchString(m.src, name)
	m.warnings(r.Warnings)
	if r.Failed {
		m.info("masquerade_exceptions map lookup problem -- message not accepted, try again later")
		m.trouble |= noQueue
	}
	return r.Match
}

// expand replaces an address by what virtual_alias_maps makes of it, again and
// again. An address that expands into itself stays. With trouble the result is
// the address alone.
func (m *Message) expand(addr string) []string {
	s := &m.c.set
	list := []string{addr}
	final := map[string]bool{}
	for i := 0; i < len(list); i++ {
		if len(list) > s.expansion {
			return m.unexpanded(addr, "unreasonable %s map expansion size for %s", addr)
		}
		for n := 0; !final[strings.ToLower(list[i])]; n++ {
			if n >= s.recursion {
				return m.unexpanded(addr, "unreasonable %s map nesting for %s", addr)
			}
			results, failed := m.lookup(&s.virtualAlias, list[i], s.propagateVirtual)
			if failed {
				m.warn("%s map lookup problem for %s -- message not accepted, try again later", s.virtualAlias.param, addr)
				m.trouble |= noQueue
				m.reason = "4.6.0 Alias expansion error"
				return []string{addr}
			}
			if len(results) == 0 {
				break
			}
			for _, r := range results {
				if len(r) > s.addrSize {
					return m.unexpanded(addr, "unreasonable %s result %s...", r[:min(len(r), 300)])
				}
				if strings.EqualFold(list[i], r) {
					final[strings.ToLower(r)] = true
				}
			}
			list[i] = results[0]
			list = append(list, results[1:]...)
		}
	}
	return list
}

func (m *Message) unexpanded(addr, format, what string) []string {
	m.warn(format+" -- message not accepted, try again later", m.c.set.virtualAlias.param, what)
	m.trouble |= deferred
	m.reason = "4.6.0 Alias expansion error"
	return []string{addr}
}
