package command

import (
	"os"
	"strings"

	"sekisho/internal/config"
)

// Exported is the environment that commands get from the server: what
// export_environment names, of what import_environment let in.
func Exported(c *config.Config) []string {
	imported := map[string]string{"MAIL_CONFIG": c.Dir}
	pick(c, "import_environment", os.LookupEnv, func(name, value string) { imported[name] = value })
	var out []string
	lookup := func(name string) (string, bool) { v, ok := imported[name]; return v, ok }
	pick(c, "export_environment", lookup, func(name, value string) { out = append(out, name+"="+value) })
	return out
}

// pick calls take for each variable that a parameter names or sets.
func pick(c *config.Config, param string, lookup func(string) (string, bool), take func(name, value string)) {
	for _, word := range c.Strings(param) {
		name, value, set := strings.Cut(word, "=")
		if !set {
			value, set = lookup(name)
		}
		if set {
			take(name, value)
		}
	}
}
