package config

import (
	"fmt"
	"os"
)

// ReadSettings reads a file of "name = value" lines in the syntax of main.cf,
// such as the files that configure SQL tables (mysql_table(5)). Values are not
// expanded.
func ReadSettings(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the configuration: %w", err)
	}
	defer f.Close()
	c := &Config{values: make(map[string]setting)}
	if _, err := c.parse(path, f); err != nil {
		return nil, err
	}
	out := make(map[string]string, len(c.values))
	for name, s := range c.values {
		out[name] = s.raw
	}
	return out, nil
}
