// Not tidied: `go mod tidy` would raise golang.org/x/sys through the tests of a dependency. Regenerate
// go.sum with `go build -mod=mod` beside the edited source (see source.json).

module boathouse-tools-goofys

go 1.23

require (
	github.com/Azure/azure-pipeline-go v0.2.2
	github.com/Azure/azure-sdk-for-go v32.1.0+incompatible
	github.com/Azure/azure-storage-blob-go v0.7.0
	github.com/Azure/go-autorest/autorest v0.11.18
	github.com/Azure/go-autorest/autorest/adal v0.9.13
	github.com/Azure/go-autorest/autorest/azure/auth v0.5.7
	github.com/Azure/go-autorest/autorest/azure/cli v0.4.2
	github.com/aws/aws-sdk-go v1.44.37
	github.com/google/uuid v1.2.0
	github.com/jacobsa/fuse v0.0.0-20210904154839-95fc8d118111
	github.com/kahing/goofys v0.24.0
	github.com/kardianos/osext v0.0.0-20190222173326-2bc1f35cddc0
	github.com/mitchellh/go-homedir v1.1.0
	github.com/satori/go.uuid v1.2.1-0.20181028125025-b2ce2384e17b
	github.com/sevlyar/go-daemon v0.1.5
	github.com/shirou/gopsutil v0.0.0-20190731134726-d80c43f9c984
	github.com/sirupsen/logrus v1.4.3-0.20190807103436-de736cf91b92
	github.com/urfave/cli v1.21.1-0.20190807111034-521735b7608a
	golang.org/x/sys v0.2.0
	gopkg.in/ini.v1 v1.51.0
)

require (
	github.com/Azure/go-autorest/autorest/to v0.4.1 // indirect
	github.com/Azure/go-autorest/autorest/validation v0.3.1 // indirect
)

replace github.com/kahing/goofys => ./src
