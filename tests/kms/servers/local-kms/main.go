// local-kms as a library: its own main listens on every interface, and a test server has no business there.
//
//	local-kms PORT FOLDER
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/nsmithuk/local-kms/src"
	"github.com/nsmithuk/local-kms/src/config"
	"github.com/nsmithuk/local-kms/src/data"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: local-kms PORT FOLDER")
	}
	config.AWSRegion = "eu-west-1"
	config.AWSAccountId = "111122223333"
	config.DatabasePath = os.Args[2]
	database := data.NewDatabase(config.DatabasePath)
	defer database.Close()
	handler := func(w http.ResponseWriter, r *http.Request) { src.HandleRequest(w, r, database) }
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(handler)))
}
