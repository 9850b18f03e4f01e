# make install DESTDIR=… PREFIX=… : what is installed where, package by package; ./dev is for everything else.
# The Debian, rpm and Arch packages are made of the same targets: `make install-garcon` is guestlink-garcon.
PREFIX ?= /usr
SYSCONFDIR ?= /etc
DESTDIR ?=
PYTHON ?= /usr/bin/python3
# no: the package manager compiles the modules on the target
COMPILE ?= yes
# Debian's zsh looks into vendor-completions.
ZSH_COMPLETIONS ?= share/zsh/site-functions
# Where the project is published, for software centres: docs/demo.png has to lie below it.
HOMEPAGE ?=

PACKAGES = common garcon vshd sommelier host

root := $(if $(DESTDIR),$(abspath $(DESTDIR)))
usr = $(root)$(PREFIX)
modules = $(usr)/share/guestlink
units = lib/systemd/user
# The original units' names, for a host that asks by them; not where the originals have their files.
aliases = $(usr)/share/systemd/user

# $(call python,SOURCE,PACKAGE): an import package into the private directory. Hashes instead of times in the
# byte code: it does not depend on when it was built.
define python
install -d $(modules)
cd $1 && find $2 \( -name '*.py' -o -name '*.binpb' \) -not -path '*/protocols/*' -exec cp --parents -t $(modules) {} +
find $(modules)/$2 -type f -exec chmod 644 {} +
[ $(COMPILE) = no ] || $(PYTHON) -m compileall -q --invalidation-mode unchecked-hash -s "$(root)" $(modules)/$2
endef

# $(call files,FILES,DIRECTORY), $(call programs,FILES,DIRECTORY): below the prefix
files = install -D -m 644 -t $(usr)/$2 $1
programs = install -D -m 755 -t $(usr)/$2 $1

# $(call launcher,PROGRAM,MODULE): a program that runs the module's main()
define launcher
install -d $(dir $(usr)/$1)
packaging/launcher $(PREFIX) $2 > $(usr)/$1
chmod 755 $(usr)/$1
endef

# $(call completions,PROGRAM): for bash, zsh and fish, from the program's own definitions
define completions
install -d $(usr)/share/bash-completion/completions $(usr)/$(ZSH_COMPLETIONS) $(usr)/share/fish/vendor_completions.d
$(PYTHON) -B packaging/completion.py bash $1 > $(usr)/share/bash-completion/completions/$1
$(PYTHON) -B packaging/completion.py zsh $1 > $(usr)/$(ZSH_COMPLETIONS)/_$1
$(PYTHON) -B packaging/completion.py fish $1 > $(usr)/share/fish/vendor_completions.d/$1.fish
endef

# $(call settings,FILE): a configuration file's manual page, from the settings' definitions
define settings
install -d $(usr)/share/man/man5
$(PYTHON) -B packaging/settings_manual.py $1 > $(usr)/share/man/man5/$1.5
endef

.PHONY: install $(PACKAGES:%=install-%)
install: $(PACKAGES:%=install-%)

install-common:
	$(call python,lib,guestlink)
	$(call programs,packaging/user-managers,lib/guestlink)
	$(call files,guest/systemd-units/presets/80-guestlink.preset,lib/systemd/user-preset)

install-garcon:
	$(call python,guest,garcon)
	$(call launcher,lib/guestlink/garcon,garcon.__main__)
	$(call launcher,bin/guestlink,garcon.client.cli)
	$(call programs,guest/garcon/data/garcon-url-handler guest/garcon/data/garcon-terminal-handler,bin)
	$(call programs,guest/systemd-units/environment-generators/20-guestlink,lib/systemd/user-environment-generators)
	$(call files,guest/systemd-units/guestlink-garcon.service,$(units))
	install -d $(aliases)
	ln -sf ../../../$(units)/guestlink-garcon.service $(aliases)/cros-garcon.service
	$(call files,guest/garcon/data/garcon_host_browser.desktop,share/applications)
	$(call files,guest/garcon/data/x-generic-mimeapps.list,share/applications)
	$(call files,guest/garcon/data/guestlink.rules,share/polkit-1/rules.d)
	install -D -m 644 guest/garcon/data/profile.sh $(root)$(SYSCONFDIR)/profile.d/guestlink.sh
	$(call completions,guestlink)
	$(call settings,guestlink.conf)
	$(call files,docs/man/garcon.1 docs/man/guestlink.1,share/man/man1)
	ln -sf garcon.1 $(usr)/share/man/man1/garcon-url-handler.1
	ln -sf garcon.1 $(usr)/share/man/man1/garcon-terminal-handler.1

install-vshd:
	$(call python,guest,vshd)
	$(call launcher,lib/guestlink/vshd,vshd.__main__)
	$(call files,$(wildcard guest/systemd-units/guestlink-vshd.*),$(units))
	$(call files,docs/man/vshd.1,share/man/man1)

install-sommelier:
	$(call python,guest,sommelier_shim)
	$(call launcher,lib/guestlink/sommelier,sommelier_shim.__main__)
	$(call launcher,lib/guestlink/sommelier-unit,sommelier_shim.unit)
	$(call programs,guest/sommelier_shim/data/sommelier,bin)
	$(call completions,sommelier)
	$(call files,$(wildcard guest/systemd-units/guestlink-sommelier*.service),$(units))
	for unit in guestlink-sommelier@1 guestlink-sommelier-x@1; do \
	    install -D -m 644 -t $(usr)/$(units)/$$unit.service.d guest/systemd-units/$$unit.service.d/*.conf || exit; \
	done
	install -d $(aliases)
	ln -sf ../../../$(units)/guestlink-sommelier@.service $(aliases)/sommelier@.service
	ln -sf ../../../$(units)/guestlink-sommelier-x@.service $(aliases)/sommelier-x@.service
	$(call files,docs/man/sommelier.1,share/man/man1)

install-host:
	$(call python,host,guestlink_host)
	$(call launcher,bin/guestlink-host,guestlink_host.__main__)
	$(call launcher,bin/vsh,guestlink_host.vsh.__main__)
	$(call launcher,lib/guestlink/host-access,guestlink_host.containers.access_service)
	$(call files,$(wildcard host/systemd-units/guestlink-host*.s*),$(units))
	$(call programs,host/systemd-units/user-generators/guestlink-host,lib/systemd/user-generators)
	$(call files,host/guestlink_host/data/org.guestlink.guestlink_host.metainfo.xml,share/metainfo)
	[ -z "$(HOMEPAGE)" ] || sed -i -e '/<!-- homepage/d' -e '/^  -->/d' -e 's|@HOMEPAGE@|$(HOMEPAGE:%/=%)|' \
	    $(usr)/share/metainfo/org.guestlink.guestlink_host.metainfo.xml
	$(call completions,guestlink-host)
	$(call completions,vsh)
	$(call settings,guestlink-host.conf)
	$(call files,docs/man/guestlink-host.1 docs/man/vsh.1,share/man/man1)
