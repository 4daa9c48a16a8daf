# What vagrant/Vagrantfile gives a provider, as JSON: vagrantfile.rb FOLDER HOME PROVIDER
require "json"
require "vagrant"
require "vagrant-libvirt"

# VirtualBox's are kept as what VBoxManage is to be told, libvirt's under their names.
def of(given, setting)
  return given.public_send(setting) unless given.respond_to?(:customizations)
  told = given.customizations.map { |_, command| command }.find { |command| command[2] == "--#{setting}" }
  told && Integer(told[3])
end

folder, home, provider = ARGV
environment = Vagrant::Environment.new(cwd: folder, home_path: home, local_data_path: home)
machines = environment.machine_names.map do |name|
  config = environment.vagrantfile.machine_config(name, provider.to_sym, nil, nil, true)[:config]
  given = config.vm.get_provider_config(provider.to_sym)
  networks = config.vm.networks.select { |type, _| type == :private_network }
  {
    name: name,
    hostname: config.vm.hostname,
    addresses: networks.map { |_, options| options[:ip] },
    box: [config.vm.box, config.vm.box_version],
    memory: of(given, "memory"),
    cpus: of(given, "cpus"),
    shared_folders: config.vm.synced_folders.reject { |_, options| options[:disabled] }.keys,
    provisioners: config.vm.provisioners.size,
  }
end
puts JSON.generate(machines)
