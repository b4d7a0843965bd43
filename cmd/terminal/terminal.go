// Package terminal asks the person at the terminal whether to go on.
package terminal

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// Confirm says what will be done and tells whether the person wants that.
func Confirm(in io.Reader, out io.Writer, what string) (bool, error) {
	if _, err := fmt.Fprintf(out, "This will %s.\nGo on? [y/N] ", what); err != nil {
		return false, fmt.Errorf("ask for confirmation: %w", err)
	}
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && answer == "" {
		return false, nil
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// Is tells whether somebody may sit at r: a character device that is not the null device.
func Is(r any) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
