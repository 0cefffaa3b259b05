// Runs every case of h2spec against HOST PORT and prints one line for each: the outcome, and the case.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/log"
	"github.com/summerwind/h2spec/spec"
)

func main() {
	port, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	seconds, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	c := &config.Config{
		Host:         os.Args[1],
		Port:         port,
		Path:         "/",
		Timeout:      time.Duration(seconds) * time.Second,
		MaxHeaderLen: 4000,
		Strict:       true,
	}
	// Its own report is for people; ours goes to standard output behind it.
	log.SetIndentLevel(0)
	for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		group.Test(c)
		report(group)
	}
}

func report(group *spec.TestGroup) {
	for i, test := range append(group.Tests, group.StrictTests...) {
		if test.Result == nil {
			continue
		}
		outcome := "passed"
		if test.Result.Skipped {
			outcome = "skipped"
		} else if test.Result.Failed {
			outcome = "failed"
		}
		fmt.Printf("\ncase %s %s/%d: %s\n", outcome, group.ID(), i+1, test.Desc)
	}
	for _, sub := range group.Groups {
		report(sub)
	}
}
