package account

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
)

// MailboxSchemes is "sekisho mailbox schemes".
type MailboxSchemes struct{ Common }

// schemeCount is how many mailboxes have a password in one stored form.
type schemeCount struct {
	Scheme   string `json:"scheme"`
	Accounts int    `json:"accounts"`
	Active   int    `json:"active"` // of these
}

// unusable stands for stored forms that no login can be checked against.
const unusable = "unusable"

// Run prints the schemes, the most used first.
func (c *MailboxSchemes) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		counts, err := countSchemes(e, d)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, n := range counts {
			rows = append(rows, []string{n.Scheme, strconv.Itoa(n.Accounts), strconv.Itoa(n.Active)})
		}
		return e.list(c.Common, counts, []string{"SCHEME", "ACCOUNTS", "ACTIVE"}, rows)
	})
}

func countSchemes(e *Env, d *directory.Directory) ([]schemeCount, error) {
	byName := make(map[string]schemeCount)
	err := d.AllPasswords(e.Context, func(stored string, active bool) bool {
		name := unusable
		if p, err := password.Parse(stored); err == nil {
			name = p.Form()
		}
		n := byName[name]
		n.Scheme = name
		n.Accounts++
		if active {
			n.Active++
		}
		byName[name] = n
		return true
	})
	counts := slices.AppendSeq([]schemeCount{}, maps.Values(byName))
	slices.SortFunc(counts, func(a, b schemeCount) int {
		return cmp.Or(cmp.Compare(b.Accounts, a.Accounts), cmp.Compare(a.Scheme, b.Scheme))
	})
	return counts, err
}
